import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from foveate.documents import parse_document, read_document
from foveate.errors import DataError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_json_is_read_as_json_is(content):
    assert parse_document(json.dumps(content), "a.json", "file") == content


# PyYAML writes texts such as 08 and 1e3 without quotes; a reader takes them for numbers.
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1).filter(
    lambda name: not name[0].isdigit()
)


@given(st.dictionaries(NAMES, st.integers() | st.lists(st.integers(), max_size=3) | st.booleans()))
def test_yaml_of_pyyaml_is_read_back(content):
    assert parse_document(yaml.safe_dump(content), "a.yaml", "file") == content


@pytest.mark.parametrize(
    ("text", "content"),
    [
        ("no: 1\nyes: on\noff: y", {"no": 1, "yes": "on", "off": "y"}),
        ("a: true\nb: False", {"a": True, "b": False}),
        ("a: 1:30\nb: 2020-01-02", {"a": "1:30", "b": "2020-01-02"}),
        ("a: 0x1F\nb: -7\nc: +3\nd: 0", {"a": 31, "b": -7, "c": 3, "d": 0}),
        ("a: .5\nb: 1e3\nc: 1.\nd: -.inf", {"a": 0.5, "b": 1e3, "c": 1.0, "d": -float("inf")}),
        ("a:\nb: ~\nc: null", {"a": None, "b": None, "c": None}),
        ("a: '0E0'\nb: 1E+3\nc: 0.0E0", {"a": "0E0", "b": 1e3, "c": 0.0}),
        ("a: '010'\nb: 1_000", {"a": "010", "b": "1_000"}),
        ("x: &x {q: 1}\ny:\n  <<: *x\n  r: 2", {"x": {"q": 1}, "y": {"q": 1, "r": 2}}),
        ("x: &x {q: 1}\ny:\n  <<: *x\n  q: 2", {"x": {"q": 1}, "y": {"q": 2}}),
    ],
)
def test_yaml_is_read_by_the_core_schema(text, content):
    assert parse_document(text, "a.yaml", "file") == content


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: 1\nb: 2\na: 3\n", r"line 3 has the duplicate key 'a' \(first in line 1\)"),
        ("a.yaml", "{a: 1, a: 1}", "line 1 has the duplicate key 'a'"),
        ("a", "x:\n  - {b: 1}\n  - b: 1\n    'b': 2\n", "line 4 has the duplicate key 'b'"),
        ("a.json", '{"a": {"b": 1},\n "c": {"b": 1,\n"b": 2}}', "has the duplicate key 'b'"),
        ("a.geojson", '{"é": 1,\n"é": 1}', "line 2 has the duplicate key 'é'"),
        ("a.toml", "a = 1\na = 2\n", "not valid TOML.*line 2"),
        ("a.yaml", "x: 010", "line 1 has the number 010.*write 10, or '010' in quotes"),
        ("a.yaml", "x: -007", "the number -007"),
        ("a.yaml", "x: [0E0]", "line 1 has the number 0E0; write 0, or '0E0' in quotes"),
        ("a.yaml", "classes:\n  1E1: 3", "line 2 has the number 1E1; write 10, or '1E1' in quotes"),
        ("a.yaml", "classes:\n  1e1: 3", "line 2 has a number as a key; write '1e1'"),
        ("a.yaml", "x: 00e-12", "the number 00e-12"),
        ("a.yaml", "x:\n\ty: 1", "not valid YAML.*line 2.*Indent with spaces"),
        ("a.yaml", "x: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_what_is_stated_twice_or_misread_is_named_with_its_line(name, text, message):
    with pytest.raises(DataError, match=message):
        parse_document(text, name, "list")


def test_a_document_is_of_the_kind_that_is_asked_for(tmp_path):
    (tmp_path / "a.txt").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_document(tmp_path / "a.txt", "list", kind="JSON") == {"a": 1}
