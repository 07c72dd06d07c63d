"""Windows of a remote file are prefetched together."""

import numpy as np
import pytest
from cogs import pixels, write
from looks import colour_model
from web_files import serving

from foveate import remote
from foveate.budget import Ledger
from foveate.focus.encode import CropEncoder
from foveate.grid import Window
from foveate.observe.completion.match_hr import MatchedHR, View
from foveate.raster import FileSource, close_files

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
CELLS = [Window(y, x, 100, 100) for y in range(0, 1000, 128) for x in range(0, 1000, 128)]


@pytest.fixture
def image(tmp_path):
    """A raster of 64 blocks, as a local and as an opened remote source."""
    remote.forget()
    path = write(tmp_path / "x.tif", pixels(side=1024))
    with serving({"/x.tif": path.read_bytes()}) as web:
        far = FileSource(f"{web.url}/x.tif")
        assert far.info.shape == (1024, 1024)
        web.asked.clear()
        yield FileSource(str(path)), far, web
    close_files()
    remote.forget()


def _crops(source):
    encoder = CropEncoder(source, colour_model()[0], Ledger({}), batch_size=4)
    return encoder.embed(CELLS), encoder.embed(CELLS[:9], disturbed=True)


def _shrunk(source):
    encoder = CropEncoder(source, colour_model(size=(16, 16))[0], Ledger({}), batch_size=4)
    return (encoder.embed(CELLS),)


def _matched_hr(source):
    matched = MatchedHR({row: [View(source, window, "x")] for row, window in enumerate(CELLS)})
    ahead = matched.ahead(range(len(CELLS)), (3, 1))
    tiles = []
    for row in range(len(CELLS)):
        ahead.at(row)
        tiles.append(matched.read(row, (3, 1), 0.5).data)
    return tiles


@pytest.mark.parametrize("read", [_crops, _shrunk, _matched_hr])
def test_windows_of_a_remote_file_take_few_requests(image, read):
    near, far, web = image
    remote_tiles = read(far)
    assert 0 < len(web.gets()) < 4
    for remote_tile, local_tile in zip(remote_tiles, read(near), strict=True):
        np.testing.assert_array_equal(remote_tile, local_tile)
