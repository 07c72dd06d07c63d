"""Captions files of every form, and their images."""

from __future__ import annotations

import json

import pytest

from foveate.errors import DataError, ParameterError
from foveate.models.tune_text.data import Captions, pair, read_captions

KARPATHY = {
    "images": [
        {"filename": "1.tif", "split": "train", "sentences": [{"raw": "A  river ."}, {"raw": "x"}]},
        {"filename": "2.tif", "split": "restval", "sentences": [{"raw": "A road ."}]},
    ]
}


def write(path, text):
    path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.json", KARPATHY),
        ("c.csv", "image,caption,split\n1.tif,A river .,train\n1.tif,x,\n2.tif,A road .,train\n"),
        ("c.tsv", ("filepath\ttitle\tsplit\n1.tif\tA river .\ttrain\n1.tif\tx\ttrain\n"
                  "2.tif\tA road .\ttrain\n")),
        ("c.jsonl", ('{"file_name": "1.tif", "text": ["A river .", "x"], "split": "train"}\n\n'
                    '{"file_name": "2.tif", "text": "A road .", "split": "train"}\n')),
        (
            "c.json",
            {
                "images": [{"id": 7, "file_name": "1.tif"}, {"id": 8, "file_name": "2.tif"}],
                "annotations": [
                    {"image_id": 7, "caption": "A river ."},
                    {"image_id": 8, "caption": "A road ."},
                    {"image_id": 7, "caption": "x"},
                ],
            },
        ),
        ("c.json", [{"image": "1.tif", "captions": ["A river .", "x"], "split": "train"},
                    {"image": "2.tif", "caption": "A road .", "split": "train"}]),
    ],
)  # fmt: skip
def test_every_form_says_the_same(tmp_path, name, text):
    found = read_captions(write(tmp_path / name, text))
    assert found.images == ("1.tif", "2.tif")
    assert found.texts == (("A river .", "x"), ("A road .",))
    assert found.split in {("train", "train"), ("", "")}  # COCO's form has none


def test_a_plain_mapping_is_of_texts_or_of_splits(tmp_path):
    found = read_captions(write(tmp_path / "c.json", {"a": "a river", "b": ["a road", "a car"]}))
    assert found.texts == (("a river",), ("a road", "a car"))
    found = read_captions(write(tmp_path / "s.json", {"a": "train", "b": "TEST"}), need_texts=False)
    assert found.split == ("train", "test")


def test_a_line_of_json_may_hold_other_line_ends(tmp_path):
    text = '{"image": "a", "caption": "a river\u2028and a road"}\n'
    assert read_captions(write(tmp_path / "c.jsonl", text)).texts == (("a river and a road",),)


def test_a_caption_may_hold_commas_quotes_and_line_ends(tmp_path):
    text = 'image,caption\na.png,"a river, and ""a road""\nbeside it"\n'
    assert read_captions(write(tmp_path / "c.csv", text)).texts == (
        ('a river, and "a road" beside it',),
    )


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.csv", 'image,caption\na,"' + "b" * 200_000, "is not a valid row"),
        (
            "c.json",
            {"images": [{"id": 1}], "annotations": []},
            "inconsistent images and annotations",
        ),
        ("c.json", [{"image": "a", "caption": "?!"}], "record 1 has a text without words"),
        ("c.txt", "x", "is not a captions file.*Allowed: .csv"),
        ("c.json", "{", "is not JSON"),
        ("c.jsonl", '{"image": "a", "caption": "b"}\n{', "line 2 is not JSON"),
        ("c.json", "[]", "contains no records"),
        ("c.json", "3", "contains int"),
        ("c.json", [3], "record 1 is int"),
        (
            "c.csv",
            "picture,caption\na,b\n",
            "line 2 has no image name.*Its fields: picture, caption",
        ),
        ("c.csv", "image,caption\na.png,\n", "line 2 has no text for 'a.png'"),
        ("c.json", [{"image": "a", "caption": ["b", "  "]}], "record 1 has a text without words"),
        ("c.json", [{"image": "a", "caption": 3}], "without words: 3"),
        ("c.csv", "image,caption,split\na,b,both\n", "split 'both'.*Allowed: train"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read_captions(write(tmp_path / name, text))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_captions(tmp_path / "none.json")


def captions(*images):
    return Captions(images, (("x",),) * len(images), ("",) * len(images), "c.json")


def test_names_are_matched_with_and_without_folder_and_suffix():
    found = pair(captions("a1.tif", "b/b1", "c2"), ["a/a1", "b/b1", "c/c2", "c/c3"])
    assert found == {"a/a1": 0, "b/b1": 1, "c/c2": 2}


def test_by_order_both_are_sorted_as_people_count():
    ids = [f"z/{k}" for k in (10, 9, 1, 2)]
    assert pair(captions("2.tif", "1.tif", "11.tif", "3.tif"), ids, "order") == {
        "z/1": 1, "z/2": 0, "z/9": 3, "z/10": 2,
    }  # fmt: skip


def test_folders_that_both_sides_state_must_agree():
    assert pair(captions("train/airport/1.jpg"), ["airport/1"]) == {"airport/1": 0}
    with pytest.raises(
        DataError, match=r"1 of 2 images of .* are missing, for example 'airport/1'"
    ):
        pair(captions("airport/1", "beach/1"), ["beach/1", "river/2"])
    with pytest.raises(DataError, match="two records of the image '1'"):
        pair(captions("airport/1.jpg", "beach/1.jpg"), ["1"])


def test_numbers_of_any_alphabet_can_stand_in_names():
    assert pair(captions("1².tif", "a٣.tif"), ["x1", "x2"], "order") == {"x1": 0, "x2": 1}


def test_captions_without_images_are_refused_with_the_way_out():
    with pytest.raises(
        DataError, match=r"1 of 2 images of .* are missing, for example 'b'.*remove the"
    ):
        pair(captions("a", "b"), ["a", "c", "d"])
    with pytest.raises(DataError, match=r"2 of 2 images.*--pair order"):
        pair(captions("1.tif", "2.tif"), ["x", "y"])
    with pytest.raises(DataError, match=r"describes 1 images, but there are 2"):
        pair(captions("1.tif"), ["x", "y"], "order")
    with pytest.raises(DataError, match=r"matches 'p/a' and 'q/a'"):
        pair(captions("a.png"), ["p/a", "q/a"])
    with pytest.raises(ParameterError, match="Allowed: name, order"):
        pair(captions("a"), ["a"], "chance")
