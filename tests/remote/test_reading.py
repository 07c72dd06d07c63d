"""Remote files on a local test server, compared with the same files on disk."""

import contextlib
import itertools
import pickle
import threading
import traceback
from datetime import timedelta

import numpy as np
import pytest
import rasterio
from cogs import kinds, pixels, write
from web_files import serving

from foveate import remote
from foveate.errors import DataError, MissingExtraError
from foveate.grid import Window
from foveate.location import locate
from foveate.raster import FileSource, close_files, read_ahead, unplanned
from foveate.raster.datasets import open_dataset
from foveate.remote import ranges, stores

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
WINDOWS = [
    Window(0, 0, 512, 512), Window(100, 30, 64, 200), Window(-20, 480, 64, 64),
    Window(383, 383, 129, 129),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, request):
    quick = {"init_backoff": timedelta(milliseconds=5), "max_backoff": timedelta(milliseconds=20)}
    retry = {"max_retries": 2, "backoff": quick | {"base": 2}}
    monkeypatch.setattr(stores, "RETRY", stores.RETRY | retry)
    if "hang" in request.node.name:  # elsewhere a busy machine may answer late
        monkeypatch.setattr(stores, "CLIENT", stores.CLIENT | {"timeout": "1s"})
    stores._cached_store.cache_clear()
    remote.forget()
    yield
    close_files()
    remote.forget()
    stores._cached_store.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    return root, kinds(root)


@pytest.fixture
def served(folder):
    root, _ = folder
    with serving({f"/a b/{p.name}": p.read_bytes() for p in root.iterdir()}) as web:
        yield web


@pytest.fixture
def one(tmp_path):
    path = write(tmp_path / "x.tif", pixels(side=512), compress="deflate")
    with serving({"/x.tif": path.read_bytes()}) as web:
        yield web, path


def overlapping(ranges):
    ordered = sorted(ranges)
    return sum(max(0, a[1] - b[0]) for a, b in itertools.pairwise(ordered))


def test_windows_of_all_formats_equal_those_of_local_files(folder, served):
    root, names = folder
    for name in names:
        near, far = FileSource(str(root / name)), FileSource(f"{served.url}/a%20b/{name}")
        for field in ("shape", "bands", "dtype", "geobox", "rules", "remarks", "lossy", "nodata"):
            assert getattr(far.info, field) == getattr(near.info, field), (name, field)
        for window in WINDOWS:
            for size in (None, (40, 50)):
                expected = near.read(window, out_shape=size)
                raster = far.read(window, out_shape=size)
                np.testing.assert_array_equal(raster.data, expected.data, err_msg=name)
                np.testing.assert_array_equal(raster.valid, expected.valid, err_msg=name)
        np.testing.assert_array_equal(far.stored().data, near.stored().data)
        assert not overlapping(served.ranges(f"/a b/{name}")), name


def test_gdal_reads_only_predicted_bytes(folder, served):
    _, names = folder
    planned = 0
    for name in names:
        source = FileSource(f"{served.url}/a%20b/{name}")
        for window, size in itertools.product(WINDOWS, (None, (20, 50), (150, 150))):
            if (plan := source.blocks(window, None, size)) is not None:
                opened, ranges = plan
                opened.need(ranges)
                before = len(served.asked)
                source.read(window, out_shape=size)
                assert served.asked[before:] == [], (name, window, size)
                planned += 1
    assert planned == 3 * len(WINDOWS) * sum(name.endswith(".tif") for name in names)


def test_reduced_windows_are_fetched_from_overviews(tmp_path):
    """All bytes are predicted whichever overview GDAL uses, fewer than at full resolution."""
    mask = np.arange(1024) % 300 > 20
    write(tmp_path / "c.tif", pixels(2, side=1024), driver="COG", blocksize=128)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        path = write(tmp_path / "m.tif", pixels(2, side=1024), mask=mask[:, None] & mask)
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4, 8])
    with serving({f"/{p.name}": p.read_bytes() for p in tmp_path.iterdir()}) as web:
        cases = itertools.product(("c.tif", "m.tif"), (512, 430, 300, 250, 110, 64), (None,))
        for name, side, nodata in [*cases, ("c.tif", 64, 0), ("m.tif", 64, 0)]:
            remote.forget()
            close_files()
            near = FileSource(str(tmp_path / name), nodata)
            far = FileSource(f"{web.url}/{name}", nodata)
            window = Window(130, 200, 800, 700)
            opened, ranges = far.blocks(window, None, (side, side))
            unsuitable = name == "m.tif" and nodata == 0  # overviews computed without it
            assert side > 110 or (sum(b - a for a, b in ranges) < 1024**2) != unsuitable
            opened.need(ranges)
            before = len(web.asked)
            raster = far.read(window, out_shape=(side, side))
            assert web.asked[before:] == [], (name, side)
            expected = near.read(window, out_shape=(side, side))
            np.testing.assert_array_equal(raster.data, expected.data)
            np.testing.assert_array_equal(raster.valid, expected.valid)


def test_files_without_layout_are_listed(folder, served):
    _, names = folder
    sources = [FileSource(f"{served.url}/a%20b/{name}") for name in names]
    _ = [source.info for source in sources]
    served.asked.clear()
    names = [locate(part.path).name for part in unplanned([*sources, None, sources[0]])]
    assert names == ["plain.jpg", "plain.png"]
    assert not served.asked
    assert not unplanned([FileSource(str(folder[0] / "plain.png"))])


def test_windows_are_prefetched_and_no_byte_is_fetched_twice(one):
    web, path = one
    rng = np.random.default_rng(0)
    windows = [Window(int(y), int(x), 96, 96) for y, x in rng.integers(0, 416, (60, 2))]
    near, far = FileSource(str(path)), FileSource(f"{web.url}/x.tif")
    before = remote.traffic()
    ahead = read_ahead([far], len(windows), lambda i: [(far, windows[i])])
    for number, window in enumerate(windows):
        ahead.at(number)
        np.testing.assert_array_equal(far.read(window).data, near.read(window).data)
    done = remote.traffic() - before
    assert not overlapping(web.ranges("/x.tif"))
    assert len(web.ranges("/x.tif")) < 5
    assert done.bytes == sum(b - a for a, b in web.ranges("/x.tif"))
    assert done.headers == 1
    assert done.requests == len(web.asked)


def test_worker_process_reads_no_header(one):
    web, path = one
    far = FileSource(f"{web.url}/x.tif?sig=s3cret")
    assert "s3cret" not in repr(far)
    far.read(Window(0, 0, 10, 10))
    sent = pickle.dumps(far)
    close_files()
    remote.forget()
    web.asked.clear()
    there = pickle.loads(sent)  # noqa: S301
    expected = FileSource(str(path)).read(Window(300, 300, 40, 40))
    np.testing.assert_array_equal(there.read(Window(300, 300, 40, 40)).data, expected.data)
    assert all(start > 0 for start, _ in web.ranges("/x.tif"))
    assert web.queries[-1] == "sig=s3cret"


def test_headers_are_kept_with_a_run_until_the_object_changes(one, tmp_path):
    web, path = one
    run = tmp_path / "run"
    run.mkdir()
    first = FileSource(f"{web.url}/x.tif").info
    remote.keep_headers(run)
    content = (run / "headers.parquet").read_bytes()
    close_files()
    remote.forget()
    web.asked.clear()
    remote.load_headers(run)
    assert FileSource(f"{web.url}/x.tif").info == first
    assert [how for how, *_ in web.asked] == ["HEAD"]
    remote.keep_headers(run)
    assert (run / "headers.parquet").read_bytes() == content

    write(path, pixels(5, side=512), compress="deflate")
    web.files["/x.tif"] = path.read_bytes()
    close_files()
    remote.look_again()
    changed = FileSource(f"{web.url}/x.tif")
    assert changed.info.fingerprint != first.fingerprint
    expected = FileSource(str(path)).read()
    np.testing.assert_array_equal(changed.read().data, expected.data)


def test_stored_headers_of_other_formats_contain_only_opening_reads(folder, served, tmp_path):
    """Not a whole file, and no content of a catalogue, which may contain keys."""
    served.files["/c.json"] = b'{"href": "x.tif?sig=s3cret"}'
    opened = remote.open_object(f"{served.url}/c.json")
    assert b"s3cret" in opened.read(0, 99)
    url = f"{served.url}/a%20b/plain.png"
    first = FileSource(url).info
    remote.keep_headers(tmp_path)
    stored = (tmp_path / "headers.parquet").read_bytes()
    assert len(stored) < len(served.files["/a b/plain.png"]) // 10
    assert b"s3cret" not in stored
    close_files()
    remote.forget()
    remote.load_headers(tmp_path)
    served.asked.clear()
    again = FileSource(url)
    assert again.info == first
    assert [how for how, *_ in served.asked] == ["HEAD"]
    expected = FileSource(str(folder[0] / "plain.png")).read(WINDOWS[1])
    np.testing.assert_array_equal(again.read(WINDOWS[1]).data, expected.data)


def test_object_that_changes_while_it_is_read_raises(one):
    web, path = one
    far = FileSource(f"{web.url}/x.tif")
    assert far.info.bands == 3
    web.files["/x.tif"] = write(path, pixels(5, side=512)).read_bytes()
    with pytest.raises(DataError, match="has changed since it was opened"):
        far.read(Window(400, 400, 100, 100))


@pytest.mark.parametrize("fault", [503, 500, "cut", "hang"])
def test_temporary_fault_is_retried(one, fault):
    web, path = one
    far = FileSource(f"{web.url}/x.tif")
    assert far.info.bands == 3
    web.faults = [("/x.tif", fault)]
    window = Window(300, 300, 100, 100)
    np.testing.assert_array_equal(far.read(window).data, FileSource(str(path)).read(window).data)
    assert not web.faults


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (503, "status 503"), (403, "permission denied"), (401, "credentials are not accepted"),
        ("cut", "truncated"), ("hang", "did not respond in time"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("opening", [True, False])
def test_permanent_fault_raises_and_nothing_wrong_is_cached(one, fault, message, opening):
    web, path = one
    far = FileSource(f"{web.url}/x.tif?X-Amz-Signature=s3cret")
    if not opening:
        assert far.info.bands == 3
    web.faults = [("/x.tif", fault)] * 100
    window = Window(300, 300, 100, 100)
    with pytest.raises(DataError, match=message) as raised:
        far.read(window)
    assert f"{web.url}/x.tif" in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    web.faults = []
    np.testing.assert_array_equal(far.read(window).data, FileSource(str(path)).read(window).data)


def test_error_of_a_file_is_not_raised_for_the_next(one):
    web, path = one
    url = f"{web.url}/x.tif"

    def interrupted():
        with open_dataset(url) as dataset:
            web.faults = [("/x.tif", 403)] * 100
            with contextlib.suppress(rasterio.errors.RasterioIOError):
                dataset.read(window=((300, 400), (300, 400)))
            raise ValueError("interrupted")

    with pytest.raises(ValueError, match="interrupted"):
        interrupted()
    web.faults = []
    with open_dataset(url) as dataset, rasterio.open(path) as near:
        np.testing.assert_array_equal(dataset.read(), near.read())


def test_error_of_a_thread_does_not_keep_files_open(one):
    """Closing files of rasterio in another thread than their own would use freed memory."""
    web, _ = one
    kept = []

    def fail():
        FileSource(f"{web.url}/x.tif").read(WINDOWS[0])
        try:
            with open_dataset(f"{web.url}/x.tif") as dataset:
                raise rasterio.errors.RasterioIOError(str(dataset.count))
        except DataError as error:
            kept.append(error)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    frames = [frame.f_locals for frame, _ in traceback.walk_tb(kept[0].__cause__.__traceback__)]
    datasets = [value for named in frames for value in named.values()
                if isinstance(value, rasterio.DatasetReader)]  # fmt: skip
    assert datasets
    assert all(dataset.closed for dataset in datasets)


def test_truncated_file_raises_with_its_url(one):
    web, path = one
    content = path.read_bytes()
    web.files["/x.tif"] = content[: len(content) // 2]
    with pytest.raises(DataError, match=r"cannot read 'http://127.*x\.tif'") as raised:
        FileSource(f"{web.url}/x.tif").read()
    assert "vsi" not in str(raised.value)


@pytest.mark.parametrize("name", ["/none.tif", "/empty.tif", "/text.tif"])
def test_missing_or_invalid_rasters_raise_with_their_names(one, name):
    web, _ = one
    web.files |= {"/empty.tif": b"", "/text.tif": b"this is no raster" * 9}
    with pytest.raises(DataError, match=name):
        _ = FileSource(f"{web.url}{name}").info


def test_unreachable_host_raises():
    with pytest.raises(DataError, match="refuses connections"):
        _ = FileSource("http://127.0.0.1:9/x.tif").info


def test_pixels_beyond_the_cache_limit_are_fetched_again(one, monkeypatch):
    web, path = one
    monkeypatch.setenv("FOVEATE_CLOUD_CACHE", "20kB")
    near, far = FileSource(str(path)), FileSource(f"{web.url}/x.tif")
    for window in WINDOWS * 2:
        np.testing.assert_array_equal(far.read(window).data, near.read(window).data)
        close_files()


def test_missing_extra_says_what_to_install(monkeypatch):
    monkeypatch.setattr(stores.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'foveate\[cloud\]'"):
        stores.need_cloud(locate("s3://b/x.tif"))


def test_traffic_is_formatted_as_text():
    assert str(remote.Traffic(1, 12)) == "12 bytes in 1 request"
    assert str(remote.Traffic(45, 12_340_000)) == "12.3 MB in 45 requests"


def test_close_ranges_are_merged():
    assert ranges.coalesced([(100_000, 100_100), (0, 10), (5, 60)]) == [
        (0, 60),
        (100_000, 100_100),
    ]
    assert ranges.without(0, 10, [(2, 3), (8, 20)]) == [(0, 2), (3, 8)]
