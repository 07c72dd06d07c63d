"""Rules that map tags to concepts."""

import pytest

from foveate.errors import DataError, UnknownNameError
from foveate.observe.build.rules import read_rules, rules_of

PARKING = {
    "min_area": 50,
    "concepts": {
        "parking": {
            "texts": ["parking lot"], "tags": [{"amenity": "parking"}],
            "unless": [{"parking": ["multi-storey", "underground"]}], "min_area": 200,
        },
        "pitch": {"tags": {"leisure": "pitch", "sport": True}},
        "soccer": {"tags": [{"sport": ["soccer", "football"]}], "min_share": 0.1},
    },
}  # fmt: skip


@pytest.mark.parametrize(
    ("tags", "shown"),
    [
        ({"amenity": "parking"}, ["parking"]),
        ({"amenity": "parking", "parking": "surface"}, ["parking"]),
        ({"amenity": "parking", "parking": "underground"}, []),
        ({"leisure": "pitch"}, []),
        ({"leisure": "pitch", "sport": "no"}, []),
        ({"leisure": "pitch", "sport": "tennis"}, ["pitch"]),
        ({"leisure": "pitch", "sport": "soccer"}, ["pitch", "soccer"]),
        ({}, []),
    ],
)
def test_match_of_tags(tags, shown):
    rules = rules_of(PARKING)
    assert [rules.concepts[k].name for k in rules.match(tags)] == shown


def test_options_of_rules_and_their_defaults():
    parking, pitch, soccer = rules_of(PARKING).rules
    assert (parking.concept.texts, parking.min_area) == (("parking lot",), 200)
    assert (pitch.concept.texts, pitch.min_area) == (("pitch",), 50)
    assert soccer.concept.min_share == 0.1


def test_named_sets_contain_the_concepts_of_the_paper():
    all66, frequent = read_rules("osm-66"), read_rules("osm-40")
    names = [concept.name for concept in all66.concepts]
    assert len(set(names)) == 66
    assert [concept.name for concept in frequent.concepts] == names[-40:]
    assert {"wind_farm", "runway", "forest", "solar_farm"} <= set(names)
    shown = [names[k] for k in all66.match({"natural": "water", "water": "pond"})]
    assert shown == ["pond"]
    assert all66.match({"highway": "residential", "name": "Main Street"}) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "no concepts"),
        ({"concepts": {"a": 3}}, "'a' is 3"),
        ({"concepts": {"a": {}}}, "tags = None"),
        ({"concepts": {"a": {"tags": [{}]}}}, "tags"),
        ({"concepts": {"a": {"tags": [{"k": 3}]}}}, "k = 3"),
        ({"concepts": {"a": {"tags": [{"k": "v"}], "min_area": -1}}}, "min_area = -1"),
        ({"concepts": {"a": {"tags": [{"k": "v"}], "tag": []}}}, "states 'tag'"),
        ({"concepts": {"a": {"tags": [{"k": "v"}], "min_share": 2}}}, "min_share = 2"),
        ({"concepts": {"a": {"tags": [{"k": "v"}]}}, "area": 3}, "states 'area'"),
    ],
)
def test_invalid_rules_raise_with_the_file_name(content, message):
    with pytest.raises(DataError, match="rules") as error:
        rules_of(content, "my.toml")
    assert message in str(error.value)
    assert "my.toml" in str(error.value)


def test_unknown_set_raises_with_suggestion():
    with pytest.raises(UnknownNameError, match="osm-66"):
        read_rules("osm66")
