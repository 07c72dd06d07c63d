"""Labels and templates: what is read, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveate.classify import ClassifyJob
from foveate.errors import DataError, ParameterError, UnknownNameError
from foveate.models.heads import TEMPLATE_SETS, labels_from, labels_of, prompts, templates_from


def test_labels_may_be_typed():
    assert labels_from("forest, open  water ,dense_residential") == {
        "forest": ("forest",),
        "open water": ("open water",),
        "dense_residential": ("dense residential",),
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.txt", "# land cover\nforest\n\nwater\n"),
        ("l.yaml", "[forest, water]"),
        ("l.json", '["forest", "water"]'),
        ("l.yml", "forest:\nwater:\n"),
    ],
)
def test_labels_may_be_a_list_in_a_file(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert labels_from(tmp_path / name) == {"forest": ("forest",), "water": ("water",)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("l.yaml", "forest: [trees, a wood]\nwater: a lake\n"),
        ("l.toml", 'forest = ["trees", "a wood"]\nwater = "a lake"\n'),
        ("l.json", '{"forest": ["trees", "a wood"], "water": "a lake"}'),
    ],
)
def test_a_mapping_gives_synonyms(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    assert labels_from(tmp_path / name) == {"forest": ("trees", "a wood"), "water": ("a lake",)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "no labels"),
        (["forest", " "], "label 2 is empty"),
        (["Open Water", "open_water"], "'Open Water' and 'open_water' are equal"),
        ({"forest": ["trees", ""]}, "label 'forest' has an empty text"),
        ({True: ["yes"]}, "label True is not a text.*'True'"),
    ],
)
def test_labels_that_cannot_be_are_explained(given, message):
    with pytest.raises(ParameterError, match=message):
        labels_of(given)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "forest\nwater\nForest\n", "'Forest' in line 3 repeats line 1"),
        ("l.yaml", "forest: [a\nwater: b\n", "not valid YAML.*line 2"),
        ("l.toml", "forest = 1\nwater = [b]\n", "not valid TOML.*line 2"),
        ("l.json", "3", "contains int"),
        ("l.txt", "", "no labels"),
    ],
)
def test_a_bad_labels_file_is_named_with_the_line(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises((ParameterError, DataError), match=message) as caught:
        labels_from(tmp_path / name)
    assert name in str(caught.value)


def test_a_missing_labels_file_is_named():
    with pytest.raises(DataError, match=r"cannot read the labels 'nowhere\.txt'"):
        labels_from(Path("nowhere.txt"))


@pytest.mark.parametrize("name", TEMPLATE_SETS)
def test_every_set_has_templates_with_a_place_for_the_name(name):
    assert all("{}" in template for template in templates_from(name))


def test_templates_may_be_a_file_or_one_sentence(tmp_path):
    (tmp_path / "mine.txt").write_text("# my own\n{} from above\n")
    assert templates_from(tmp_path / "mine.txt") == ("{} from above",)
    assert templates_from(str(tmp_path / "mine.txt")) == ("{} from above",)
    assert templates_from("{} at night") == ("{} at night",)
    assert templates_from(["a {}", "the {}"]) == ("a {}", "the {}")


def test_templates_that_cannot_be_are_explained(tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'plain'"):
        templates_from("plan")
    (tmp_path / "mine.txt").write_text("a {}\nan image\n")
    with pytest.raises(ParameterError, match=r"'an image' in line 2 of 'mine\.txt'"):
        templates_from(tmp_path / "mine.txt")
    with pytest.raises(ParameterError, match="no template"):
        templates_from([])


def test_braces_in_a_name_stay_text():
    assert prompts(["{x}", "a"], ["the {}."]) == ["the {x}.", "the a."]


def test_a_classes_file_of_masks_is_told_from_labels(tmp_path):
    (tmp_path / "c.yaml").write_text("classes: {water: 0, forest: 1}\nignore: [cloud]\n")
    with pytest.raises(ParameterError, match=r"Use --classes"):
        labels_from(tmp_path / "c.yaml")
    (tmp_path / "n.json").write_text('{"forest": 1}')
    with pytest.raises(ParameterError, match="'forest' has the value 1"):
        labels_from(tmp_path / "n.json")


def test_a_file_given_as_names_says_so(tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(ParameterError, match="are the name of a file"):
        labels_from(str(tmp_path / "labels.txt"))


def test_glued_and_spaced_spellings_are_one():
    with pytest.raises(ParameterError, match="are equal"):
        labels_of(["parking lot", "ParkingLot"])


def test_a_list_of_classes_of_masks_is_told_from_labels_too(tmp_path):
    (tmp_path / "c.yaml").write_text("classes: [water, forest]\n")
    with pytest.raises(ParameterError, match=r"Use --classes"):
        labels_from(tmp_path / "c.yaml")


def test_more_labels_may_be_typed_than_a_file_name_has_room_for():
    assert len(labels_from(",".join(f"label {i}" for i in range(99)))) == 99
    assert len(labels_from("a" * 999)) == 1


@pytest.mark.parametrize("names", ["labels.txt", "Labels.YAML", "forest,more.csv"])
def test_a_file_that_is_missing_is_no_label(names):
    job = ClassifyJob(images=["images"], labels=names)
    with pytest.raises(ParameterError, match="is the name of a file that is missing"):
        job.known_labels()


def test_a_table_is_no_list_of_names(tmp_path):
    (tmp_path / "l.csv").write_text("name,id\nforest,1\n")
    with pytest.raises(DataError, match=r"is a table.*one name per line.*to l.txt"):
        labels_from(tmp_path / "l.csv")
