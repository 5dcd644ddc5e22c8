"""Certificates made for a test, and signed by an authority made for it."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class Files:
    """PEM files of one server, and of whoever vouches for it."""

    cert: Path
    key: Path
    ca: Path


def write_certificate(
    folder: Path,
    *,
    address: str = "127.0.0.1",
    expired: bool = False,
    self_signed: bool = False,
    password: bytes = b"",
) -> Files:
    """A certificate for one address, valid today unless ``expired``."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca = _sign("a test's authority", ca_key, by="a test's authority", by_key=ca_key)
    own = _sign(
        "server",
        key,
        by="server" if self_signed else "a test's authority",
        by_key=key if self_signed else ca_key,
        address=address,
        expired=expired,
    )
    files = Files(cert=folder / "cert.pem", key=folder / "key.pem", ca=folder / "ca.pem")
    files.cert.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    files.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption(),
        )
    )
    return files


def _sign(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    by: str,
    by_key: ec.EllipticCurvePrivateKey,
    address: str = "",
    expired: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, by)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * DAY)
        .not_valid_after(now - DAY if expired else now + DAY)
        .add_extension(x509.BasicConstraints(ca=not address, path_length=None), critical=True)
    )
    if address:
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(by_key, hashes.SHA256())
