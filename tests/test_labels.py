import json

import numpy as np
import pytest

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
        ("c.yaml", "", "holds no mapping, but NoneType. Expected: classes"),
        ("c.yaml", "- water", "holds no mapping, but list. Expected: classes"),
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
        ({"classes": {"a": "#12345"}}, "the classes: a: '#12345' is no colour. A colour is"),
        ({"classes": {"a": "red"}}, "the classes: a: 'red' is no colour"),
        ({"classes": {"a": []}}, "the classes: a has no value"),
        ({"classes": {"a": 1, "b": "#000000"}}, "the classes mixes colours and integers"),
        ({"classes": {"a": 1}, "ignore": ["#000000"]}, "the classes mixes colours and integers"),
        ({"classes": {"a": 1}, "ignore": ["a", "a"]}, "the classes leaves no class to count"),
        ({"classes": {"a": 1, "b": [2, 1]}}, "the classes: the value 1 stands for two classes"),
        (
            {"classes": {"a": "#00FF00"}, "ignore": ["#00ff00"]},
            "the classes: the value #00FF00 stands for two classes",
        ),
        (
            {"classes": {"water": 1}, "ignore": ["watr"]},
            (
                "the classes: ignore lists 'watr', which is no class. Classes: water. A mask value "
                "may be ignored too. Did you mean 'water'?"
            ),
        ),
        (
            {"classes": {"water": 1}, "colors": {"watr": "#000000"}},
            "the classes: colors lists 'watr', which is no class. Classes: water. Did you mean",
        ),
        (
            {"classes": {"water": 1}, "colors": {"water": "blue"}},
            "the classes: colors: water: 'blue' is no colour",
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
        "m.png has 3 pixels of 2 unknown class value(s), most often #E2A92A. The nearest known is "
        "#E2A929 (water). Add it to the classes file, or to its 'ignore' list, or set "
        "'tolerance: 20' for masks saved as JPEG."
    )


def test_an_unknown_index_is_named():
    legend = Legend.from_dict({"classes": {"a": 1}, "ignore": [9]})
    with pytest.raises(DataError) as caught:
        legend.decode(np.array([[1, 3, 8, 8]]), "m.tif")
    assert str(caught.value) == (
        "m.tif has 3 pixels of 2 unknown class value(s), most often 8. The nearest known is 9 "
        "(an ignored value). Add it to the classes file, or to its 'ignore' list."
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
    with pytest.raises(DataError, match="no whole numbers"):
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
