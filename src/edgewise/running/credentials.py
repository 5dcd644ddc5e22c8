"""How the device half shows who it is, and makes sure whom it talks to."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from edgewise.errors import BadInput

_KEY = re.compile(r"[\x21-\x7e]{1,512}")
# OpenSSL, <openssl/x509_vfy.h>: X509_V_ERR_…
_WORDS = {
    9: "it is not valid yet",
    10: "it has expired",
    18: "it was signed by itself",
    19: "nobody whom this device trusts signed it",
    20: "nobody whom this device trusts signed it",
    21: "nobody whom this device trusts signed it",
    62: "it is for another name",
    64: "it is for another address",
}


def key_fields(api_key: str | None) -> dict[str, str]:
    """The header fields that carry a key; none without one.

    Args:
        api_key: as its maker printed it.

    Raises:
        BadInput: when it cannot stand in a header; the key is not repeated.

    >>> key_fields("ew_1"), key_fields(None)
    ({'Authorization': 'Bearer ew_1'}, {})
    """
    if api_key is None:
        return {}
    if not _KEY.fullmatch(api_key):
        raise BadInput(
            expected="an API key: up to 512 printable ASCII characters without spaces",
            found="something else",
            remedy="pass the key as 'edgewise keys new' printed it",
        )
    return {"Authorization": f"Bearer {api_key}"}


def not_let_in(url: str, *, has_key: bool) -> BadInput:
    """What to raise when a server asks for another key, or for one.

    >>> not_let_in("http://h", has_key=False).found
    'none'
    """
    return BadInput(
        expected=f"an API key that the server at {url} knows",
        found="another one" if has_key else "none",
        remedy="pass it with --api-key-file FILE, or in the variable EDGEWISE_API_KEY",
    )


def client_context(ca_path: Path | str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later that checks who the server is.

    Args:
        ca_path: PEM; trust these certificates instead of those that the system trusts.

    Raises:
        BadInput: when the file holds no certificates.

    >>> client_context().verify_mode.name
    'CERT_REQUIRED'
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_path is None else str(ca_path))
    except (ssl.SSLError, OSError, ValueError) as error:
        raise BadInput(
            expected=f"certificates in PEM form in {ca_path}",
            found=_found(error),
            remedy="pass with --ca the certificate that signed the server's",
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def certificate_words(error: ssl.SSLCertVerificationError) -> str:
    """Why a server's certificate was not accepted, for a person.

    >>> error = ssl.SSLCertVerificationError()
    >>> error.verify_code = 10
    >>> certificate_words(error)
    "the server's certificate is not trusted: it has expired"
    """
    why = _WORDS.get(getattr(error, "verify_code", 0), "")
    return "the server's certificate is not trusted" + (f": {why}" if why else "")


def _found(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return (error.strerror or "an error").lower()
    return "something else"
