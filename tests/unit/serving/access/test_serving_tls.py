"""Files for TLS that do not fit are refused in words, before anything listens."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest

from certificates import Files, write_certificate
from edgewise.errors import BadInput
from edgewise.serving import server_context


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_certificate(tmp_path_factory.mktemp("tls"))


def _refused(cert: Path, key: Path) -> str:
    with pytest.raises(BadInput) as caught:
        server_context(cert, key)
    return str(caught.value)


def test_nothing_older_than_tls_1_2(files: Files) -> None:
    assert server_context(files.cert, files.key).minimum_version is ssl.TLSVersion.TLSv1_2


def test_missing_files_are_named(files: Files, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    found = "found no such file or directory; check the path and who may read it"
    assert (
        _refused(nothing, files.key) == f"expected a certificate in PEM form at {nothing}, {found}"
    )
    assert (
        _refused(files.cert, nothing)
        == f"expected a private key in PEM form at {nothing}, {found}"
    )
    assert "is a directory" in _refused(tmp_path, files.key)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read(files: Files, tmp_path: Path) -> None:
    closed = tmp_path / "closed.pem"
    closed.write_bytes(files.key.read_bytes())
    closed.chmod(0)
    assert "found permission denied; check the path and who may" in _refused(files.cert, closed)


def test_the_two_files_swapped(files: Files) -> None:
    assert _refused(files.key, files.cert) == (
        f"expected a certificate in PEM form in {files.key}, found none;"
        " pass the right file with --tls-cert"
    )
    assert "found none; pass the right file with --tls-key" in _refused(files.cert, files.ca)


def test_a_key_of_another_certificate(files: Files, tmp_path: Path) -> None:
    other = write_certificate(tmp_path / "other")
    assert _refused(files.cert, other.key) == (
        f"expected the private key of the certificate {files.cert}, found that of another one in"
        f" {other.key}; pass the two files that were made together"
    )


def test_a_key_with_a_password_asks_nobody(tmp_path: Path) -> None:
    locked = write_certificate(tmp_path / "locked", password=b"secret")
    assert "without a password" in _refused(locked.cert, locked.key)


def test_damaged_files(files: Files, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_bytes(files.cert.read_bytes().replace(b"M", b"!"))
    assert "found files that OpenSSL refuses (" in _refused(broken, files.key)
