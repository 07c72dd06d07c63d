import errno
import json
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from foveate import files
from foveate.errors import DataError, ParameterError, StorageError

SYNC = files._sync  # other tests do without


@pytest.fixture(autouse=True)
def _sync(monkeypatch):
    monkeypatch.setattr(files, "_sync", SYNC)


def leftovers(folder):
    return [p.name for p in folder.iterdir() if p.name.endswith(".tmp")]


def test_a_file_appears_complete_with_its_parent_folders(tmp_path):
    path = tmp_path / "a" / "b.txt"
    with files.atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "half"
    assert not leftovers(path.parent)


def test_an_exception_inside_leaves_the_old_file_and_no_temporary(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with files.atomic_path(path) as temporary:
            temporary.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_text() == "old"
    assert not leftovers(tmp_path)


def test_reproducible_files_are_written_without_fsync(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "fsync", lambda _: pytest.fail("waited for the disk"))
    files.write_bytes(tmp_path / "a", b"thumbnail", durable=False)
    assert (tmp_path / "a").read_bytes() == b"thumbnail"
    assert not leftovers(tmp_path)


def test_written_files_follow_the_umask(tmp_path):
    files.write_bytes(tmp_path / "a", b"")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize(
    ("number", "what", "hint"),
    [
        (errno.ENOSPC, "the disk is full", "Free some space"),
        (errno.EDQUOT, "quota", "Free some space"),
        (errno.EROFS, "read-only", "Choose a folder on another file system"),
        (errno.EACCES, "permission denied", "Choose a folder with write permission"),
        (errno.EIO, "Input/output error", "Choose another output path"),
    ],
)
def test_system_errors_are_storage_errors_with_a_hint(tmp_path, monkeypatch, number, what, hint):
    path = tmp_path / "a"
    path.write_text("old")

    def refuse(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.os, "fsync", refuse)
    with pytest.raises(StorageError, match=what) as caught:
        files.write_bytes(path, b"new")
    assert str(path) in caught.value.given
    assert caught.value.hint.startswith(hint)
    assert caught.value.errno == number
    assert path.read_text() == "old"
    assert not leftovers(tmp_path)


def test_a_disk_that_is_full_before_the_start_is_a_storage_error(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "_new_file", refuse)
    with pytest.raises(StorageError, match="the disk is full"):
        files.write_bytes(tmp_path / "a", b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_storage_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match="permission denied"):
        files.write_bytes(tmp_path / "a", b"")


def test_file_in_the_way_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "b" / "a"):
        with pytest.raises(StorageError, match="a part of the path is a file, not a folder"):
            files.write_bytes(path, b"")


def test_folder_in_the_way_of_a_file_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(StorageError, match="the path is a folder"):
        files.write_bytes(tmp_path / "a", b"")
    assert not leftovers(tmp_path)


def test_long_name_is_named(tmp_path):
    with pytest.raises(StorageError, match="the name is too long"):
        files.write_bytes(tmp_path / ("a" * 300), b"")


def test_a_storage_error_is_not_wrapped_twice():
    error = StorageError("given")
    assert files.as_storage_error(error, "path") is error


def test_json_round_trips_readable_and_in_utf8(tmp_path):
    value = {"ö": [1, 2.5, None, "x"]}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert "ö" in text
    assert text.endswith("}\n")


def test_json_that_cannot_be_read_names_the_file_and_the_reason(tmp_path):
    with pytest.raises(DataError, match=r"cannot read '.*none.json' as JSON: No such file"):
        files.read_json(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match=r"as JSON: Expecting property name .* line 1"):
        files.read_json(tmp_path / "bad.json")
    (tmp_path / "latin.json").write_bytes(b'"\xe9"')
    with pytest.raises(DataError, match=r"as JSON: 'utf-8' codec"):
        files.read_json(tmp_path / "latin.json")


def test_parquet_round_trips_and_the_same_table_gives_the_same_bytes(tmp_path):
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    files.write_parquet(tmp_path / "1", table)
    files.write_parquet(tmp_path / "2", table)
    assert files.read_parquet(tmp_path / "1").equals(table)
    assert files.read_parquet(tmp_path / "1", ["b"]).column_names == ["b"]
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_a_block_that_removes_its_file_is_a_storage_error(tmp_path):
    def write():
        with files.atomic_path(tmp_path / "a") as temporary:
            temporary.unlink()

    with pytest.raises(StorageError, match=r"cannot write '.*a'"):
        write()
    assert not list(tmp_path.iterdir())


def test_geoparquet_says_its_geometry_and_keeps_other_metadata(tmp_path):
    point = shapely.to_wkb(shapely.Point(1, 2))
    table = pa.table({"geometry": [point], "native": [point]}).replace_schema_metadata({"k": "v"})
    crs = {"name": "a PROJJSON"}
    files.write_parquet(tmp_path / "a", table, geo={"geometry": None, "native": crs})
    metadata = pq.read_metadata(tmp_path / "a").metadata
    assert metadata[b"k"] == b"v"
    geo = json.loads(metadata[b"geo"])
    assert geo["version"] == "1.1.0"
    assert geo["primary_column"] == "geometry"
    assert "crs" not in geo["columns"]["geometry"]
    assert geo["columns"]["native"]["crs"] == crs


def test_parquet_that_cannot_be_read_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none. as Parquet: No such file"):
        files.read_parquet(tmp_path / "none")
    (tmp_path / "bad").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="as Parquet: "):
        files.read_parquet(tmp_path / "bad")


def test_digest_depends_on_the_values_and_not_on_the_order_of_keys():
    assert files.digest({"a": 1, "b": 2}) == files.digest({"b": 2, "a": 1})
    assert files.digest([1, 2]) != files.digest([2, 1])
    assert len(files.digest(Path("x"))) == 32


def test_a_digest_tells_none_nan_and_the_infinities_apart():
    values = [None, float("nan"), float("inf"), float("-inf"), "NaN", 0.0]
    assert len({files.digest({"nodata": v}) for v in values}) == len(values)


def test_json_has_null_for_what_is_not_finite(tmp_path):
    values = [float("nan"), (float("inf"), np.float32(1.5))]
    files.write_json(tmp_path / "a.json", values)
    assert files.read_json(tmp_path / "a.json") == files.as_json(values) == [None, [None, 1.5]]


def test_ids_are_hashed_by_what_they_say_and_in_their_order(monkeypatch):
    ids = np.array(["a", "bb", "ccc"])
    whole = files.digest_ids(ids)
    monkeypatch.setattr(files, "_IDS", 2)
    assert files.digest_ids(ids.astype("<U40")) == whole
    others = (ids[::-1], ids[:2], np.array(["a", "bb", "ccd"]), np.array(["ab", "b", "ccc"]))
    assert whole not in {files.digest_ids(other) for other in others}
    assert files.digest_ids(ids[:0]) != whole


def test_a_column_of_text_is_read_chunk_by_chunk():
    table = pa.table({"id": pa.chunked_array([["a"], [], ["bcd", "e"]], pa.string())})
    assert files.text_column(table, "id").tolist() == ["a", "bcd", "e"]
    assert files.text_column(table.slice(0, 0), "id").shape == (0,)


def test_fingerprint_is_of_the_content_wherever_it_lies(tmp_path):
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
    a, b, c = (files.fingerprint(tmp_path / name) for name in "abc")
    assert a == b != c


def test_fingerprint_of_a_large_file_sees_size_time_and_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_WHOLE_FILE", 100)
    monkeypatch.setattr(files, "_BLOCK", 4)
    path = tmp_path / "a"

    def mark(content, when=1):
        path.write_bytes(content)
        os.utime(path, (when, when))
        return files.fingerprint(path)

    first = mark(bytes(1000))
    assert mark(bytes(1000)) == first
    assert mark(bytes(1001)) != first
    assert mark(bytes(1000), when=2) != first
    assert mark(b"x" + bytes(999)) != first
    assert mark(bytes(999) + b"x") != first


def test_fingerprint_of_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"cannot read '.*none': No such file or directory"):
        files.fingerprint(tmp_path / "none")


# --- names and texts of users ------------------------------------------------------------------


@given(st.binary(min_size=1, max_size=12).filter(lambda b: not {0, 47} & set(b)))
def test_every_name_is_printable_and_leads_back_to_its_file(name):
    with tempfile.TemporaryDirectory() as folder:
        path = os.fsdecode(os.fsencode(folder) + b"/x" + name)
        Path(path).write_text("content")
        text = files.printable(path)
        text.encode()
        assert Path(files.stored_path(text)).read_text() == "content"


def test_names_that_are_text_stay():
    for name in ("a.tif", "é 漢 🛰", r"C:\x1.tif", ""):
        assert files.printable(name) == name
        assert files.stored_path(name) == name


def test_records_hold_names_that_are_no_utf8_as_text(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    files.write_json(tmp_path / "a.json", {name: [name]})
    assert files.read_json(tmp_path / "a.json") == {"caf\\xe9": ["caf\\xe9"]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_of_users_are_utf8_or_have_a_mark(tmp_path, encoding):
    path = tmp_path / "a.txt"
    path.write_bytes("é\r\n漢".encode(encoding))
    assert files.read_text(path, "list") == "é\r\n漢"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a\nb\xe9", r"cannot read the list '.*a.txt': 'utf-8'.*\(line 2\).*iconv"),
        (b"a\0b", "it contains null bytes"),
        ("a".encode("utf-16-le"), "it contains null bytes"),
        (b"\xff\xfea", "'utf-16-le'.*truncated"),
    ],
)
def test_other_encodings_are_refused_without_a_word_of_deleting(tmp_path, data, message):
    path = tmp_path / "a.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        files.read_text(path, "list")
    assert "elete" not in str(caught.value)


def test_missing_texts_are_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read '.*none': No such file"):
        files.read_text(tmp_path / "none")
    with pytest.raises(DataError, match="Is a directory"):
        files.read_text(tmp_path, "list")
    with pytest.raises(
        ParameterError, match=r"path of the list is an empty string.*shell variables"
    ):
        files.read_text("", "list")


def test_a_folder_is_there_when_all_of_it_is(tmp_path):
    target = tmp_path / "new" / "folder"
    with (
        pytest.raises(StorageError, match="cannot write"),
        files.atomic_folder(target) as folder,
    ):
        (folder / "missing/a").write_text("a")
    assert list((tmp_path / "new").iterdir()) == []
    target.mkdir()
    with files.atomic_folder(target) as folder:
        (folder / "in").mkdir()
        (folder / "in/b").write_text("b")
        assert list(target.iterdir()) == []
    assert (target / "in/b").read_text() == "b"
    for taken, what in ((target, "not empty"), (target / "in/b", "a file")):
        with pytest.raises(StorageError, match=what), files.atomic_folder(taken):
            pass
    assert (target / "in/b").read_text() == "b"


def test_csv_cells(tmp_path):
    table = pa.table({"=n": ["=1+1", "é,", None], "v": [float("nan"), -1.5, None]})
    files.write_csv(tmp_path / "x.csv", table)
    assert (tmp_path / "x.csv").read_text("utf-8") == "'=n,v\n'=1+1,\n\"é,\",-1.5\n,\n"
