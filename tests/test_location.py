import pickle
from pathlib import Path

import pytest

from foveate.errors import ParameterError
from foveate.location import URL, absolute, is_url, locate, redact, refuse_url, signed

PRESIGNED = "https://ada:s3cret@host:8443/a%20b/x.tif?v=2&X-Amz-Signature=s3cret&X-Amz-Expires=60"


def test_url_is_never_a_path():
    place = locate("s3://bucket/a/x.tif")
    assert isinstance(place, URL)
    assert str(place) == "s3://bucket/a/x.tif"
    with pytest.raises(TypeError):
        Path(place)


@pytest.mark.parametrize(
    ("text", "parts", "name", "stem", "suffix"),
    [
        ("s3://b/a/x.tif", ("s3://b", "a", "x.tif"), "x.tif", "x", ".tif"),
        ("S3://b/x y%20.tif", ("s3://b", "x y%20.tif"), "x y%20.tif", "x y%20", ".tif"),
        ("gs://b/p/", ("gs://b", "p"), "p", "p", ""),
        ("az://b", ("az://b",), "", "", ""),
        ("https://h:1/a%20b/x.tif?v=1", ("https://h:1", "a b", "x.tif"), "x.tif", "x", ".tif"),
    ],
)
def test_url_has_parts(text, parts, name, stem, suffix):
    place = locate(text)
    assert (place.parts, place.name, place.stem, place.suffix) == (parts, name, stem, suffix)


def test_parent_of_a_url_is_a_prefix():
    place = locate("s3://b/a/x.tif")
    assert str(place.parent) == "s3://b/a/"
    assert place.parent.is_prefix
    assert place.parent / "y.tif" == locate("s3://b/a/y.tif")
    assert str(locate("s3://b/x.tif").parent) == "s3://b/"


def test_paths_stay_paths(tmp_path):
    assert locate(tmp_path) == tmp_path
    assert locate(f"file://{tmp_path}/a%20b") == tmp_path / "a b"
    assert absolute("a.tif") == str(Path("a.tif").absolute())
    assert absolute("s3://b/a.tif") == "s3://b/a.tif"
    assert not is_url("a.tif")
    assert is_url("ftp://h/a.tif")


@pytest.mark.parametrize("text", ["ftp://h/x.tif", "s3://", "https:///x.tif"])
def test_urls_that_cannot_be_raise_with_hint(text):
    with pytest.raises(ParameterError) as raised:
        locate(text)
    assert "s3://" in str(raised.value) or "https://" in str(raised.value)


def test_an_address_is_no_folder_of_this_machine():
    for given in ("s3://b/out", Path("s3://b/out"), "s3:/b/out"):
        with pytest.raises(
            ParameterError, match=r"'s3://b/out'.*a run is a folder of this machine"
        ):
            refuse_url(given, "a run is a folder")
    for given in ("/data/s3:/b", "s3:", "out", Path("s3"), ""):
        refuse_url(given, "a run is a folder")


def test_credentials_are_taken_out_of_a_url_and_kept_for_the_reader():
    place = locate(PRESIGNED)
    assert str(place) == "https://host:8443/a%20b/x.tif?v=2"
    assert "s3cret" not in repr(place)
    assert "ada:s3cret@" in signed(place)
    assert "X-Amz-Signature=s3cret" in signed(place)


def test_credentials_go_to_another_process_with_the_url(monkeypatch):
    place = locate(PRESIGNED)
    sent = pickle.dumps(place)
    monkeypatch.setattr("foveate.location._signatures", {})
    assert signed(place) == str(place)
    assert "s3cret" in signed(pickle.loads(sent))  # noqa: S301


def test_credentials_are_hidden_in_any_text():
    text = redact(f"foveate curate '{PRESIGNED}' https://h/y.tif?sv=1&sig=s3cret&v=7 --out run")
    assert "s3cret" not in text
    assert "v=2" in text
    assert "v=7 --out run" in text
