"""Certificates: read before the server listens, and refused in words."""

from __future__ import annotations

import ssl
from pathlib import Path

from edgewise.errors import BadInput

_MAX_BYTES = 1_000_000


def server_context(cert_path: Path | str, key_path: Path | str) -> ssl.SSLContext:
    """TLS 1.2 or later with a certificate chain and its key.

    Args:
        cert_path: PEM, the server's own certificate first.
        key_path: PEM, not encrypted.

    Raises:
        BadInput: naming the file and what to do.
    """
    _check_is_pem(Path(cert_path), b"CERTIFICATE-----", "a certificate", "--tls-cert")
    _check_is_pem(Path(key_path), b"PRIVATE KEY-----", "a private key", "--tls-key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_path, key_path, password=_refuse_password)
    except _Encrypted:
        raise BadInput(
            expected=f"a private key without a password in {key_path}",
            found="one that is encrypted",
            remedy="decrypt it with: openssl pkey -in KEY -out PLAIN; and let only the server"
            " read it",
        ) from None
    except (ssl.SSLError, OSError) as error:
        raise _unusable(cert_path, key_path, error) from None
    return context


class _Encrypted(Exception):  # noqa: N818 - a signal from a callback, not an error of ours
    """OpenSSL asked for a password; at a terminal it would wait for a person."""


def _refuse_password() -> str:
    raise _Encrypted


def _check_is_pem(path: Path, mark: bytes, what: str, option: str) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(_MAX_BYTES)
    except OSError as error:
        raise BadInput(
            expected=f"{what} in PEM form at {path}",
            found=(error.strerror or "an error").lower(),
            remedy="check the path and who may read it",
        ) from None
    if mark not in start:
        raise BadInput(
            expected=f"{what} in PEM form in {path}",
            found="none",
            remedy=f"pass the right file with {option}",
        )


def _unusable(cert_path: Path | str, key_path: Path | str, error: Exception) -> BadInput:
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        return BadInput(
            expected=f"the private key of the certificate {cert_path}",
            found=f"that of another one in {key_path}",
            remedy="pass the two files that were made together",
        )
    return BadInput(
        expected=f"a certificate and its key in {cert_path} and {key_path}",
        found=f"files that OpenSSL refuses ({getattr(error, 'reason', None) or 'unknown reason'})",
        remedy="make or export them again in PEM form",
    )
