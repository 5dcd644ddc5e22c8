"""Keys and certificates on the device's side."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from certificates import write_certificate
from edgewise.errors import BadInput
from edgewise.running.linking.credentials import client_context, key_fields, tls_words
from edgewise.running.linking.link import HttpLink


@pytest.mark.parametrize("key", ["", " ", "a b", "a\r\nX: y", "é", "x" * 513, "\x00"])
def test_keys_that_cannot_stand_in_a_header_are_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(BadInput) as caught:
        HttpLink("http://127.0.0.1:1", api_key=key)
    assert str(caught.value) == (
        "expected an API key: up to 512 printable ASCII characters without spaces, found"
        " something else; pass the key as 'edgewise keys new' printed it"
    )


def test_a_key_is_in_no_repr() -> None:
    assert key_fields("ew_1") == {"Authorization": "Bearer ew_1"}
    assert "ew_1" not in repr(HttpLink("http://127.0.0.1:1", api_key="ew_1"))


def test_certificates_are_always_checked(tmp_path: Path) -> None:
    for context in (client_context(), client_context(write_certificate(tmp_path).ca)):
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_files_without_certificates(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nothing\.pem, found no such file or directory; pass"):
        client_context(tmp_path / "nothing.pem")
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(BadInput, match=r"expected certificates in PEM form in .*text\.pem"):
        HttpLink("https://127.0.0.1:1", ca_path=tmp_path / "text.pem")


def test_unknown_reasons_are_not_made_up() -> None:
    error = ssl.SSLCertVerificationError()
    assert tls_words(error)[0] == "the server's certificate is not trusted"
