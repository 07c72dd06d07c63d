"""What a pool of remote files says of how they are read."""

import json
import logging

import pytest
from cogs import pixels, write
from PIL import Image
from web_files import serving

import foveate as fv
from foveate import remote
from foveate.curate.job import CurateJob
from foveate.raster import close_files

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


@pytest.fixture
def images(tmp_path):
    data = pixels(side=64)
    write(tmp_path / "a.tif", data)
    Image.fromarray(data.transpose(1, 2, 0)).save(tmp_path / "b.png")
    remote.forget()
    with serving({f"/{p.name}": p.read_bytes() for p in tmp_path.iterdir()}) as web:
        yield [f"{web.url}/a.tif", f"{web.url}/b.png"]
    close_files()
    remote.forget()


def test_files_that_are_read_through_gdal_alone_are_named(images, tmp_path, caplog):
    caplog.set_level(logging.WARNING, logger="foveate")
    job = CurateJob(images=images, tile=64, methods=["random"], budget="50%")
    job.run(tmp_path / "run")
    (note,) = [n for n in caplog.messages if "through GDAL alone" in n]
    assert images[1] in note
    notes = json.loads((tmp_path / "run/tables/notes.json").read_text())
    assert [n["items"] for n in notes if "through GDAL alone" in n["text"]] == [[images[1]]]
    summary = json.dumps(json.loads((tmp_path / "run/run.json").read_text()))
    assert "through GDAL alone" in summary


def test_a_pool_of_geotiffs_has_no_such_note(images):
    assert not [n for n in fv.open_pool(images[:1], tile=64).notes if "GDAL" in n.text]
