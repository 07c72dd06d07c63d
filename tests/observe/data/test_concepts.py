from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from foveate.errors import DataError, ParameterError
from foveate.observe.data.concepts import Concept, concepts_from, concepts_of

if TYPE_CHECKING:
    from pathlib import Path


def test_typed_names_stand_for_themselves() -> None:
    found = concepts_from("storage_tank, water")
    assert found == (
        Concept("storage_tank", ("storage tank",), classes=("storage_tank",)),
        Concept("water"),
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "# mine\nforest\nopen_water\n"),
        ("c.yaml", "[forest, open_water]"),
        ("c.json", '["forest", {"name": "open_water"}]'),
        ("c.toml", "forest = []\nopen_water = 'open water'\n"),
    ],
)
def test_every_kind_of_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = concepts_from(tmp_path / name)
    assert [c.name for c in found] == ["forest", "open_water"]
    assert found[1].texts == ("open water",)
    assert found == concepts_from(str(tmp_path / name))


def test_all_fields_and_back(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(
        "town: {texts: [town, houses], weight: 2, classes: [building, road], min_share: 0.1,\n"
        "  min_gsd: 5, novel: true}\nwater: [lake, river]\nelse: {classes: []}\n"
    )
    town, water, unknown = found = concepts_from(file)
    assert town == Concept("town", ("town", "houses"), 2, ("building", "road"), 0.1, 5, novel=True)
    assert water.texts == ("lake", "river")
    assert water.classes == ("water",)
    assert unknown.classes == ()
    assert concepts_of([c.to_dict() for c in found]) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("town: {wieght: 2}", "Did you mean 'weight'?"),
        ("town: {weight: -1}", "'town' has weight = -1"),
        ("town: {weight: .nan}", "'town' has weight"),
        ("town: {min_share: 0}", "min_share = 0"),
        ("town: {min_gsd: 0}", "min_gsd = 0"),
        ("town: {novel: 1}", "novel = 1"),
        ("town: {classes: 3}", "classes = 3"),
        ("town: {classes: [3]}", "classes = "),
        ("town: {texts: 3}", "'town' has the value 3"),
        ("town: {weight: 0}", "all have weight 0"),
        ("[a, A]", "'a' and 'A' are equal"),
        ("[a, a]", "'a' and 'a' are equal"),
        ("- {weight: 2}", "number 1 has no name"),
        ("[]", "no concepts"),
        ("{}", "no concepts"),
    ],
)
def test_errors_name_the_file_and_the_entry(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(ParameterError) as error:
        concepts_from(file)
    assert "mine.yaml" in str(error.value)
    assert said in str(error.value)


def test_no_concepts_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    for source in ("", " , ", tmp_path / "empty.txt"):
        with pytest.raises(ParameterError, match="no concepts"):
            concepts_from(source)
    with pytest.raises(ParameterError, match="the concept number 2 is empty"):
        concepts_from("forest,,road")
    for gone in ("gone.yaml", tmp_path / "gone"):
        with pytest.raises(DataError, match="cannot read the concepts"):
            concepts_from(gone)
    (tmp_path / "bad.json").write_text("3")
    with pytest.raises(DataError, match=r"the concepts file .* contains int"):
        concepts_from(tmp_path / "bad.json")
