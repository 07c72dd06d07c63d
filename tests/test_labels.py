import json
import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foveate.errors import DataError
from foveate.labels import IGNORED, Legend, count_classes, pack

COLOURS = {
    "classes": {"water": "#E2A929", "road": ["#6EC1E4", "#0000FF"], "unlabeled": "#9B9B9B"},
    "ignore": ["unlabeled", "#000000"],
}


def mask(*colours):
    """A mask of one row with these colours."""
    rgb = [[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in colours]
    return np.array(rgb, np.uint8).T[:, None]


def test_colours_become_class_numbers_and_ignored_ones_minus_1():
    legend = Legend.from_dict(COLOURS)
    assert legend.names == ("water", "road")
    assert len(legend) == 2
    codes = legend.decode(mask("#6EC1E4", "#E2A929", "#0000FF", "#9B9B9B", "#000000"))
    assert codes.tolist() == [[1, 0, 1, IGNORED, IGNORED]]
    assert count_classes(codes, 2).tolist() == [1, 2]


def test_indices_come_with_and_without_a_band_axis():
    legend = Legend.from_dict({"classes": {"a": 1, "b": [7, -2]}, "ignore": [255]})
    indices = np.array([[1, 7], [255, 1]], np.uint8)
    assert legend.decode(indices).tolist() == [[0, 1], [IGNORED, 0]]
    assert legend.decode(indices[None]).tolist() == legend.decode(indices).tolist()
    assert legend.decode(np.array([[-2]])).tolist() == [[1]]


def test_classes_without_a_file_are_named_after_their_values():
    legend = Legend.of_indices([2, 5])
    assert legend.names == ("class 2", "class 5")
    assert legend.decode(np.array([[5, 2]])).tolist() == [[1, 0]]


@pytest.mark.parametrize("content", [COLOURS, {"classes": {"a": [0, 1], "b": 2}, "ignore": [9]}])
def test_a_legend_is_written_as_a_classes_file(content):
    legend = Legend.from_dict(content)
    assert Legend.from_dict(json.loads(json.dumps(legend.to_dict()))) == legend


def test_display_colours_are_the_given_then_the_masks_own_then_a_palette():
    colors = {"road": "#123456"}
    assert Legend.from_dict(COLOURS | {"colors": colors}).colors == ("#E2A929", "#123456")
    indexed = Legend.from_dict({"classes": {"water": 0, "road": 1}, "colors": colors}).colors
    assert indexed == ("#4E79A7", "#123456")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.yaml", 'classes: {water: "#0000FF", land: "#00ff00"}\nignore: [land]\n'),
        ("c.toml", 'ignore = ["land"]\n[classes]\nwater = "#0000FF"\nland = "#00ff00"\n'),
        ("c.JSON", '{"classes": {"water": "#0000FF", "land": "#00ff00"}, "ignore": ["land"]}'),
    ],
)
def test_a_classes_file_is_yaml_toml_or_json(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    legend = Legend.from_file(tmp_path / name)
    assert legend.names == ("water",)
    assert legend.ignored == (0x00FF00,)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.yaml", "classes: {a: 1", "is not valid yaml: .* line 1"),
        ("c.toml", "classes = 1 2", "is not valid toml: .*line 1"),
        ("c.json", "{", "is not valid json: .* line 1"),
        ("classes", "a: [", "is not valid YAML: "),
        ("c.yaml", "", "must be a mapping, got NoneType. Expected: classes"),
        ("c.yaml", "- water", "must be a mapping, got list. Expected: classes"),
    ],
)
def test_a_file_that_is_no_classes_file_is_named_with_the_place(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"the classes file '.*{name}' {message}"):
        Legend.from_file(tmp_path / name)


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path):
    with pytest.raises(DataError, match=r"the classes file '.*none.yaml': No such file or dir"):
        Legend.from_file(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xe9")
    with pytest.raises(DataError, match=r"latin.yaml': 'utf-8' codec"):
        Legend.from_file(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "the classes: classes: Field required. Expected: classes (name: integer"),
        ({"classes": {}}, "the classes: classes: Dictionary should have at least 1 item"),
        ({"classes": {"a": 1}, "clases": 3}, "the classes: clases: Extra inputs"),
        ({"classes": {"a": 1.5}}, "the classes: classes.a"),
        ({"classes": {"a": True}}, "the classes: classes.a"),
        ({"classes": {"a": 1}, "tolerance": 300}, "the classes: tolerance: Input should be less"),
        (
            {"classes": {"a": "#12345"}},
            "the classes: a: '#12345' is not a valid value. A value must be",
        ),
        ({"classes": {"a": "red"}}, "the classes: a: 'red' is not a valid value"),
        ({"classes": {"a": []}}, "the classes: a has no value"),
        ({"classes": {"a": 1, "b": "#000000"}}, "the classes mixes colours and integers"),
        ({"classes": {"a": 1}, "ignore": ["#000000"]}, "the classes mixes colours and integers"),
        ({"classes": {"a": 1}, "ignore": ["a", "a"]}, "the classes: all classes are ignored"),
        ({"classes": {"a": 1, "b": [2, 1]}}, "the classes: the value 1 is in two classes"),
        (
            {"classes": {"a": "#00FF00"}, "ignore": ["#00ff00"]},
            "the classes: the value #00FF00 is in two classes",
        ),
        (
            {"classes": {"water": 1}, "ignore": ["watr"]},
            (
                "the classes: ignore lists 'watr', which is not a class. Classes: water. Values of "
                "the mask may also be ignored. Did you mean 'water'?"
            ),
        ),
        (
            {"classes": {"water": 1}, "colors": {"watr": "#000000"}},
            "the classes: colors lists 'watr', which is not a class. Classes: water. Did you mean",
        ),
        (
            {"classes": {"water": 1}, "colors": {"water": "blue"}},
            "the classes: colors: water: 'blue' is not a valid value",
        ),
    ],
)
def test_what_is_no_legend_names_the_entry(content, message):
    with pytest.raises(DataError) as caught:
        Legend.from_dict(content)
    assert str(caught.value).startswith(message)


def test_the_wrong_number_of_bands_says_what_the_classes_are():
    with pytest.raises(DataError, match=r"m.png has 1 band.*The classes are colours \(3 bands\)"):
        Legend.from_dict(COLOURS).decode(np.zeros((1, 2, 2)), "m.png")
    with pytest.raises(DataError, match=r"has 3 band.*The classes are class indices \(1 band\)"):
        Legend.of_indices([0]).decode(np.zeros((3, 2, 2)))


def test_an_unknown_colour_is_named_with_its_count_and_the_nearest_class():
    image = mask("#E2A929", "#E2A92A", "#E2A92A", "#FFFFFF")
    with pytest.raises(DataError) as caught:
        Legend.from_dict(COLOURS).decode(image, "m.png")
    assert str(caught.value) == (
        "m.png has 3 pixels of 2 unknown class value(s), most often #E2A92A. The nearest known "
        "value is #E2A929 (water). Add it to the classes file, or to its 'ignore' list, or set "
        "'tolerance: 20' for masks saved as JPEG."
    )


def test_an_unknown_index_is_named():
    legend = Legend.from_dict({"classes": {"a": 1}, "ignore": [9]})
    with pytest.raises(DataError) as caught:
        legend.decode(np.array([[1, 3, 8, 8]]), "m.tif")
    assert str(caught.value) == (
        "m.tif has 3 pixels of 2 unknown class value(s), most often 8. The nearest known value "
        "is 9 (an ignored value). Add it to the classes file, or to its 'ignore' list."
    )


def test_tolerance_counts_a_near_colour_and_names_only_the_far_ones():
    legend = Legend.from_dict(COLOURS | {"tolerance": 5})
    assert legend.decode(mask("#E2A929", "#E0AC2E", "#050505")).tolist() == [[0, 0, IGNORED]]
    with pytest.raises(DataError, match=r"has 1 pixels of 1 unknown .* most often #E2A92F"):
        legend.decode(mask("#E2A92A", "#E2A92A", "#E2A92F"))


def test_counts_have_every_class_and_no_ignored_pixel():
    assert count_classes(np.array([[2, 2, -1], [0, -1, 2]]), 4).tolist() == [1, 0, 3, 0]
    assert count_classes(np.array([-1]), 2).tolist() == [0, 0]


def test_pack_gives_one_number_per_colour():
    assert pack(mask("#123456")).tolist() == [[0x123456]]


@pytest.mark.parametrize("value", [0.5, np.nan, np.inf, -1.25])
def test_values_that_are_no_whole_numbers_are_no_classes(value):
    whole = np.array([[[1.0, 2.0], [3.0, 255.0]]])
    assert pack(whole).tolist() == [[1, 2], [3, 255]]
    whole[0, 1, 1] = value
    with pytest.raises(DataError, match="not integers"):
        pack(whole)


@pytest.mark.realdata
def test_the_masks_of_dubai_decode_with_their_legend(realdata):
    from foveate.raster import FileSource

    legend = Legend.from_dict(
        {
            "classes": {
                "water": "#E2A929", "land": "#8429F6", "road": "#6EC1E4", "building": "#3C1098",
                "vegetation": "#FEDD3A",
            },
            "ignore": ["#9B9B9B"],
        }
    )  # fmt: skip
    for path in sorted((realdata / "dubai" / "tile1" / "masks").glob("*.png"))[:2]:
        data = FileSource(str(path)).read().data
        codes = legend.decode(data, path.name)
        assert count_classes(codes, 5).sum() + (codes == IGNORED).sum() == codes.size


def test_an_unquoted_colour_is_a_comment_in_yaml(tmp_path):
    (tmp_path / "classes.yaml").write_text("classes:\n  land: #8429F6\n  water: '#E2A929'\n")
    with pytest.raises(DataError, match=r"has no value.*Quote the colour: land"):
        Legend.from_file(tmp_path / "classes.yaml")


# --- ranges, limits and tolerance --------------------------------------------------------------

WHOLE = st.integers(-20, 20)
ENTRIES = (
    WHOLE
    | st.tuples(WHOLE, WHOLE).map(lambda ab: f"{min(ab)}-{max(ab)}")
    | st.tuples(WHOLE, WHOLE).map(lambda ab: f"{min(ab)} .. {max(ab)}")
    | st.tuples(st.sampled_from(["<", "<=", ">", ">="]), WHOLE).map(lambda ob: f"{ob[0]}{ob[1]}")
)


def holds(entry, value):
    """Whether an entry of a classes file holds a value, by a reading of its own."""
    if isinstance(entry, int):
        return value == entry
    if entry[0] in "<>":
        sign = entry.rstrip("-0123456789")
        limit = int(entry.removeprefix(sign))
        ways = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}
        return ways[sign]
    low, high = re.fullmatch(r"(-?\d+)(?: \.\. |-)(-?\d+)", entry).groups()
    return int(low) <= value <= int(high)


def gap(entry, value):
    """How far a value is from an entry, over the whole numbers nearby."""
    return min((abs(value - v) for v in range(-100, 101) if holds(entry, v)), default=np.inf)


@given(
    groups=st.lists(st.lists(ENTRIES, min_size=1, max_size=3), min_size=1, max_size=4),
    ignored=st.lists(ENTRIES, max_size=2),
    values=st.lists(st.integers(-40, 40), min_size=1, max_size=30),
    tolerance=st.sampled_from([0, 0, 3]),
    kind=st.sampled_from([np.int8, np.int32, np.int64, np.float32]),
)
def test_decoding_agrees_with_a_reading_value_by_value(groups, ignored, values, tolerance, kind):
    content = {
        "classes": {f"c{i}": group for i, group in enumerate(groups)},
        "ignore": list(dict.fromkeys(ignored)),
        "tolerance": tolerance,
    }
    entries = [(e, i) for i, group in enumerate(groups) for e in group]
    entries += [(e, IGNORED) for e in content["ignore"]]
    shared = [
        v for v in range(-60, 61)
        if sum(holds(e, v) for e, _ in entries) > 1
    ]  # fmt: skip
    if shared:
        with pytest.raises(DataError, match="is in two classes"):
            Legend.from_dict(content)
        return
    legend = Legend.from_dict(content)
    assert Legend.from_dict(json.loads(json.dumps(legend.to_dict()))) == legend
    expected = []
    for value in values:
        gaps = [(gap(e, value), code) for e, code in entries]
        nearest = min(g for g, _ in gaps)
        codes = {code for g, code in gaps if g == nearest}
        expected.append(codes.pop() if nearest <= tolerance and len(codes) == 1 else None)
    mask = np.array([values], kind)
    if None in expected:
        with pytest.raises(DataError, match="unknown class value"):
            legend.decode(mask)
    else:
        assert legend.decode(mask).tolist() == [expected]
    for value, code in zip(values, expected, strict=True):
        if tolerance == 0:
            assert legend.knows(value) == (code is not None and code >= 0)


@given(st.lists(st.integers(0, 5), min_size=1), st.sampled_from([np.uint8, np.uint16, np.int64]))
def test_values_that_are_looked_up_are_those_that_are_searched(codes, kind):
    legend = Legend.from_dict({"classes": {"a": [0, 3], "b": "1-2"}, "ignore": [">=4"]})
    few, many = np.array([codes], kind), np.array([codes + [0] * 70000], kind)
    assert legend.decode(few).tolist() == legend.decode(many)[:, : len(codes)].tolist()


def test_limits_of_floats_are_exact():
    legend = Legend.from_dict({"classes": {"low": "<0.5", "high": ">=0.5"}})
    below = np.nextafter(0.5, 0)
    assert legend.decode(np.array([[below, 0.5, -np.inf, 1e300]])).tolist() == [[0, 1, 0, 1]]
    with pytest.raises(DataError, match="unknown class value"):
        legend.decode(np.array([[np.nan]]))


def test_whole_numbers_at_the_ends_of_their_type():
    legend = Legend.from_dict({"classes": {"low": "<128", "high": ">=128"}})
    for kind in (np.uint8, np.int16, np.int64):
        ends = np.array([[np.iinfo(kind).min, 127, 127, np.iinfo(kind).max]]).astype(kind)
        assert legend.decode(ends).tolist() == [[0, 0, 0, int(kind != np.int8)]]


def test_a_list_of_two_is_no_range_and_the_error_says_so():
    legend = Legend.from_dict({"classes": {"crops": [10, 19], "town": 30}})
    assert legend.decode(np.array([[10, 19, 30]])).tolist() == [[0, 0, 1]]
    with pytest.raises(DataError, match=r'crops: \[10, 19\] is a list of.*crops: "10-19"'):
        legend.decode(np.array([[14]]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"classes": {"a": "19-10"}}, r"'19-10' is empty.*a: \"10-19\""),
        ({"classes": {"a": "<10", "b": "5-7"}}, "the value 5 is in two classes"),
        ({"classes": {"a": "<10", "b": "<5"}}, "below all limits is in two classes"),
        ({"classes": {"a": "<10", "b": "#000000"}}, "mixes colours and integers"),
        ({"classes": {"a": "<ten"}}, "'<ten' is not a valid value.*'10-19'"),
        ({"classes": {"a": 2**60}}, "Values must not exceed"),
        ({"classes": {1: 1}}, "write it in quotes, '1'"),
        ({"classes": {True: 1}}, "write it in quotes, 'true'"),
    ],
)
def test_ranges_that_cannot_be(content, message):
    with pytest.raises(DataError, match=message):
        Legend.from_dict(content)


def test_ignored_names_and_colours_may_be_composed_otherwise():
    nfc, nfd = (unicodedata.normalize(form, "é") for form in ("NFC", "NFD"))
    content = {"classes": {nfd: 1, "b": 2}, "ignore": [nfc]}
    assert Legend.from_dict(content).names == ("b",)
    legend = Legend.from_dict({"classes": {nfd: 1}, "colors": {nfc: "#010203"}})
    assert (legend.names, legend.colors) == ((nfc,), ("#010203",))


def test_the_table_of_a_legend_cannot_be_given():
    with pytest.raises(TypeError, match="_table"):
        Legend(("a",), ((1,),), _table=None)
