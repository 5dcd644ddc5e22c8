"""How the device half shows who it is, and makes sure whom it talks to."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

from edgewise.errors import BadInput

_KEY = re.compile(r"[\x21-\x7e]{1,512}")
_SET_CLOCK = "check this device's clock, then ask the server's operator to renew it"
_TRUST = "pass with --ca the certificate that signed it, if the server is yours"
_RENAME = "ask the server under the name that stands in it"
# OpenSSL, <openssl/x509_vfy.h>: X509_V_ERR_…, each with why and what to do
_CAUSES = {
    9: ("it is not valid yet", _SET_CLOCK),
    10: ("it has expired", _SET_CLOCK),
    18: ("it was signed by itself", "pass it with --ca, if the server is yours"),
    19: ("nobody whom this device trusts signed it", _TRUST),
    20: ("nobody whom this device trusts signed it", _TRUST),
    21: ("nobody whom this device trusts signed it", _TRUST),
    62: ("it is for another name", _RENAME),
    64: ("it is for another address", _RENAME),
}
# OpenSSL, <openssl/sslerr.h>: what came in place of the server's greeting is no TLS at all
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE")


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


def tls_words(error: ssl.SSLError) -> tuple[str, str]:
    """Why there is no encrypted connection, and what to do about it, for a person.

    >>> error = ssl.SSLCertVerificationError()
    >>> error.verify_code = 18
    >>> print(*tls_words(error), sep="; ")
    the server's certificate is not trusted: it was signed by itself; pass it with --ca, if the \
server is yours
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why, remedy = _CAUSES.get(getattr(error, "verify_code", 0), ("", _TRUST))
        return "the server's certificate is not trusted" + (f": {why}" if why else ""), remedy
    if getattr(error, "reason", "") in _NO_TLS:
        return "the server does not speak TLS", "ask it with http://, not https://"
    return "the encryption failed", "check that both ends can speak TLS 1.2 or later"


def _found(error: Exception) -> str:
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        return (error.strerror or "an error").lower()
    return "something else"
