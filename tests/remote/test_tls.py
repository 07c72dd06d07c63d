"""HTTPS with a certificate signed by a private authority."""

import ssl
from datetime import UTC, datetime
from ipaddress import ip_address

import numpy as np
import pytest
from cogs import pixels, write
from web_files import serving

from foveate import remote
from foveate.errors import DataError, UnavailableError
from foveate.pool.stac.api import api_text
from foveate.raster import FileSource, close_files
from foveate.remote import stores

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


def _signed(name, authority=None):
    """Return a certificate and its key, signed by an authority, or self-signed as an authority."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(authority[0].subject if authority else subject, subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.BasicConstraints(ca=authority is None, path_length=None), critical=True)
        .add_extension(host, critical=False)
        .sign(authority[1] if authority else key, hashes.SHA256())
    )
    return certificate, key


@pytest.fixture
def web(tmp_path):
    """URL of a server, a local copy of its file, and the certificate of its authority."""
    from cryptography.hazmat.primitives import serialization as form

    authority = _signed("authority")
    own, key = _signed("server", authority)
    pem = form.Encoding.PEM
    (tmp_path / "ca.pem").write_bytes(authority[0].public_bytes(pem))
    (tmp_path / "own.pem").write_bytes(
        own.public_bytes(pem)
        + key.private_bytes(pem, form.PrivateFormat.PKCS8, form.NoEncryption())
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "own.pem")
    path = write(tmp_path / "x.tif", pixels(side=128))
    stores._cached_store.cache_clear()
    remote.forget()
    with serving({"/x.tif": path.read_bytes(), "/c.json": b"{}"}, tls) as web:
        yield web.url, path, tmp_path / "ca.pem"
    close_files()
    remote.forget()
    stores._cached_store.cache_clear()


def test_untrusted_certificate_raises_with_hint(web, monkeypatch):
    monkeypatch.setattr(stores, "RETRY", stores.RETRY | {"max_retries": 0})
    with pytest.raises(UnavailableError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
        FileSource(f"{web[0]}/x.tif").read()
    with pytest.raises(DataError, match=r"certificate is not trusted.*SSL_CERT_FILE"):
        api_text(f"{web[0]}/c.json")


def test_private_authority_in_ssl_cert_file_is_trusted(web, monkeypatch):
    url, path, authority = web
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    raster = FileSource(f"{url}/x.tif").read()
    np.testing.assert_array_equal(raster.data, FileSource(str(path)).read().data)
    assert api_text(f"{url}/c.json") == "{}"
