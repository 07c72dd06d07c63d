"""Files that users write: YAML, TOML and JSON, in which nothing is stated twice or misread.

YAML is read by the core schema of YAML 1.2: ``no``, ``on`` and ``1:30`` are texts, where YAML 1.1
makes a truth value and the number 90 of them. ``010`` is 8 in the one and 10 in the other, and
refused.
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


class _MisreadError(ValueError):
    """Something that is valid and not what is meant."""


def read_document(path: str | Path, what: str, expected: str = "", kind: str = "") -> Any:
    """Read YAML, TOML or JSON, by the suffix; any other suffix is YAML.

    Args:
        path: The file; see `read_text` for its encoding.
        what: What it is, for messages: "classes file".
        expected: What it should hold, for messages.
        kind: What it is called: TOML, JSON or anything else for YAML; by the suffix if empty.

    Raises:
        DataError: It cannot be read, is malformed, or states a name twice; with the line.
    """
    return parse_document(read_text(path, what), path, what, expected, kind)


def parse_document(
    text: str, path: str | Path, what: str, expected: str = "", kind: str = ""
) -> Any:
    """Read the text of a document; see `read_document`."""
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
    except Exception as error:  # each parser has its own; the message has the line
        raise DataError(
            f"the {what} {printable(str(path))!r} is not valid {kind}: "
            f"{' '.join(str(error).split())}",
            expected,
            "Indent with blanks instead of tabs." if r"'\t'" in str(error) else "",
        ) from error


def parse_json(text: str) -> Any:
    """Read JSON in which no object has a name twice.

    Raises:
        ValueError: It is malformed, or one has; the message has the line.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            # JSON keeps no lines: those of the name are as near as it gets.
            key = re.compile(re.escape(json.dumps(twice, ensure_ascii=False)) + r"\s*:")
            lines = [text.count("\n", 0, at.start()) + 1 for at in key.finditer(text)]
            where = f"line {lines[1]} states" if len(lines) > 1 else "an object states"
            raise _MisreadError(f"{where} {twice!r} a second time")
        return found

    return json.loads(text, object_pairs_hook=once)


@functools.cache
def _yaml_loader() -> Any:
    """Return the loader (built on use: importing yaml takes a while)."""
    import yaml

    class Loader(yaml.SafeLoader):
        """The safe loader with the core schema, and without repeated names."""

        yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  (as PyYAML has it)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
            seen: dict[str, int] = {}
            for key, _ in node.value:
                line = key.start_mark.line + 1
                name = key.value if isinstance(key, yaml.ScalarNode) else str(key.start_mark)
                if name in seen and key.tag != "tag:yaml.org,2002:merge":
                    raise _MisreadError(
                        f"line {line} states {name!r} a second time, line {seen[name]} did before"
                    )
                seen[name] = line
            return super().construct_mapping(node, deep)

        def construct_zeros(self, node: Any) -> Any:
            number = node.value.lstrip("+-0_") or "0"
            raise _MisreadError(
                f"line {node.start_mark.line + 1} has the number {node.value}, which is octal to "
                f"some readers; write {number}, or '{node.value}' in quotes for a text"
            )

    core = {
        "null": (r"~|null|Null|NULL|", "~nN\0"),
        "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
        "zeros": (_ZEROS.pattern, "-+0"),
        "int": (r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
        "float": (
            r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|INF)|\.(nan|NaN)",
            "-+.0123456789",
        ),
        "merge": (r"<<", "<"),
    }
    for name, (pattern, first) in core.items():
        letters = [letter.strip("\0") for letter in first]
        whole = re.compile(f"^(?:{pattern})$")
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", whole, letters)
    Loader.add_constructor("tag:yaml.org,2002:zeros", Loader.construct_zeros)
    return Loader
