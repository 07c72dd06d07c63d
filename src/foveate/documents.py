"""Strict reading of YAML, TOML and JSON files of users; duplicate keys are errors.

YAML is read with the core schema of YAML 1.2: ``no``, ``on`` and ``1:30`` are strings; in YAML 1.1
they are booleans and the number 90. ``010`` is 8 in YAML 1.1 and 10 in YAML 1.2, and raises an
error; so does ``1E1``, a string in YAML 1.1 and 10 in YAML 1.2, unless it is written as ``1e1``.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

from foveate.errors import DataError
from foveate.files import printable, read_text

_KINDS = {".toml": "TOML", ".json": "JSON", ".geojson": "JSON"}
_ZEROS = re.compile(r"[-+]?0[0-9_]+")
# Codes such as 0E0 and 1E1, which PyYAML writes without quotes.
_CODES = re.compile(r"[-+]?(0+[eE][-+]?[0-9]+|[0-9]+E[0-9]+)")


class _MisreadError(ValueError):
    """Valid content that is ambiguous or has duplicate keys."""


def read_document(path: str | Path, what: str, expected: str = "", kind: str = "") -> Any:
    """Read YAML, TOML or JSON, by the suffix; any other suffix is YAML.

    Args:
        path: The file; see `read_text` for its encoding.
        what: Kind of the file in error messages: "classes file".
        expected: Expected content, for error messages.
        kind: Format: TOML, JSON, or any other value for YAML; if empty, by the suffix.

    Raises:
        DataError: The file cannot be read, is malformed, or has a duplicate key; the message
            contains the line.
    """
    return parse_document(read_text(path, what), path, what, expected, kind)


def parse_document(
    text: str, path: str | Path, what: str, expected: str = "", kind: str = ""
) -> Any:
    """Parse the text of a document; see `read_document`."""
    kind = kind or _KINDS.get(Path(path).suffix.lower(), "YAML")
    try:
        if kind.upper() == "TOML":
            return tomllib.loads(text)
        if kind.upper() == "JSON":
            return parse_json(text)
        import yaml

        return yaml.load(text, _yaml_loader())  # noqa: S506  (a safe loader)
    except _MisreadError as error:
        raise DataError(f"the {what} {printable(str(path))!r}: {error}", expected) from error
    except Exception as error:  # each parser has its own exceptions; the message has the line
        raise DataError(
            f"the {what} {printable(str(path))!r} is not valid {kind}: "
            f"{' '.join(str(error).split())}",
            expected,
            "Indent with spaces instead of tabs." if r"'\t'" in str(error) else "",
        ) from error


def parse_json(text: str) -> Any:
    """Parse JSON, and raise an error for duplicate keys.

    Raises:
        ValueError: The text is malformed, or has a duplicate key; the message contains the line.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            duplicate = Counter(name for name, _ in pairs).most_common(1)[0][0]
            # The parser has no line numbers; search for the key in the text instead.
            key = re.compile(re.escape(json.dumps(duplicate, ensure_ascii=False)) + r"\s*:")
            lines = [text.count("\n", 0, match.start()) + 1 for match in key.finditer(text)]
            where = f"line {lines[1]} has" if len(lines) > 1 else "an object has"
            raise _MisreadError(f"{where} the duplicate key {duplicate!r}")
        return mapping

    return json.loads(text, object_pairs_hook=unique)


@functools.cache
def _yaml_loader() -> Any:
    """Return the loader, built on first use because importing yaml is slow."""
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader with the core schema; duplicate keys are errors."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (as in PyYAML)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            lines: dict[str, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                name = key.value if isinstance(key, yaml.ScalarNode) else str(key.start_mark)
                if name in lines and key.tag != "tag:yaml.org,2002:merge":
                    raise _MisreadError(
                        f"line {line} has the duplicate key {name!r} (first in line {lines[name]})"
                    )
                if key.tag == "tag:yaml.org,2002:float":
                    raise _MisreadError(f"line {line} has a number as a key; write '{name}'")
                lines[name] = line
            return super().construct_mapping(node, deep)

        def construct_zeros(self, node: Any) -> Any:
            number = node.value.lstrip("+-0_") or "0"
            raise _MisreadError(
                f"line {node.start_mark.line + 1} has the number {node.value}, which is octal in "
                f"YAML 1.1; write {number}, or '{node.value}' in quotes for a string"
            )

        def construct_code(self, node: Any) -> Any:
            raise _MisreadError(
                f"line {node.start_mark.line + 1} has the number {node.value}; write "
                f"{float(node.value):g}, or '{node.value}' in quotes for a string"
            )

    core = {
        "null": (r"~|null|Null|NULL|", "~nN\0"),
        "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
        "zeros": (_ZEROS.pattern, "-+0"),
        "code": (_CODES.pattern, "-+0123456789"),
        "int": (r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
        "float": (
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|INF)|\.(nan|NaN)",
            "-+.0123456789",
        ),
        "merge": (r"<<", "<"),
    }
    for name, (pattern, first) in core.items():
        letters = [letter.strip("\0") for letter in first]
        anchored = re.compile(f"^(?:{pattern})$")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", anchored, letters)
    Loader.add_constructor("tag:yaml.org,2002:zeros", Loader.construct_zeros)
    Loader.add_constructor("tag:yaml.org,2002:code", Loader.construct_code)
    return Loader
