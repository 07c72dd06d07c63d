"""gs:// and az:// URLs with stores configured to use a local test server."""

import json

import numpy as np
import pytest
from cogs import pixels, write
from web_files import serving

from foveate import remote
from foveate.errors import DataError, UnavailableError
from foveate.raster import FileSource, close_files
from foveate.remote import stores

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]
KEY = "a2V5cGxhbnRlZHMzY3JldA=="  # an account key in base64


@pytest.fixture(autouse=True)
def _fresh():
    stores._cached_store.cache_clear()
    remote.forget()
    yield
    close_files()
    remote.forget()
    stores._cached_store.cache_clear()


@pytest.fixture
def web(tmp_path):
    path = write(tmp_path / "x.tif", pixels(side=256))
    with serving() as web:
        yield web, path


def _settings(scheme, url, folder):
    """Return environment variables that configure a store to use a server."""
    if scheme == "az":
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": "account", "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": f"{url}/account", "AZURE_STORAGE_ALLOW_HTTP": "true",
        }  # fmt: skip
    account = {"gcs_base_url": url, "disable_oauth": True, "client_email": "", "private_key": "",
               "private_key_id": ""}  # fmt: skip
    (folder / "account.json").write_text(json.dumps(account))
    return {
        "GOOGLE_SERVICE_ACCOUNT": str(folder / "account.json"), "GOOGLE_ALLOW_HTTP": "true",
    }  # fmt: skip


@pytest.mark.parametrize(("scheme", "place"), [("gs", "/b/d/x.tif"), ("az", "/account/b/d/x.tif")])
def test_environment_configures_the_endpoint_of_a_store(web, scheme, place, monkeypatch, tmp_path):
    web, path = web
    web.files[place] = path.read_bytes()
    for name, value in _settings(scheme, web.url, tmp_path).items():
        monkeypatch.setenv(name, value)
    raster = FileSource(f"{scheme}://b/d/x.tif").read()
    np.testing.assert_array_equal(raster.data, FileSource(str(path)).read().data)
    with pytest.raises(DataError, match="it does not exist") as raised:
        FileSource(f"{scheme}://b/d/none.tif").read()
    assert f"{scheme}://b/d/none.tif" in str(raised.value)
    web.faults = [(place, 403)] * 9
    remote.forget()
    close_files()
    with pytest.raises(DataError, match="permission denied") as raised:
        FileSource(f"{scheme}://b/d/x.tif").read()
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "settings"),
    [
        ("az://b/x.tif", {}),
        ("gs://b/x.tif", {"GOOGLE_SERVICE_ACCOUNT": "/none/s3cret.json"}),
        ("s3://b/x.tif", {"AWS_PROFILE": "nobody"}),
    ],
)
def test_store_without_configuration_raises_with_the_variables_to_set(url, settings, monkeypatch):
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_USE_EMULATOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(
        UnavailableError, match=r"its store cannot be configured.* Set [A-Z]+_"
    ) as raised:
        _ = FileSource(url).info
    assert "s3cret" not in str(raised.value)
