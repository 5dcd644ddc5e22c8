"""Bytes at rest that only the holder of a key can read: AES-256-GCM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgewise.errors import BadInput, MissingExtra

KEY_BYTES = 32
_NONCE_BYTES = 12  # NIST SP 800-38D, section 8.2.2: random 96-bit nonces

Randomness = Callable[[int], bytes]


class Unreadable(Exception):  # noqa: N818 - for those who call `open`, who word it
    """The bytes are not what was sealed with this key for this purpose."""


class Seal(Protocol):
    """Closes bytes and opens them again."""

    encrypts: bool

    def close(self, plain: bytes, *, about: str) -> bytes:
        """What may be written to a disk; it opens only with the same ``about``."""

    def open(self, closed: bytes, *, about: str) -> bytes:
        """The plain bytes.

        Raises:
            Unreadable: when they were closed with another key, for another purpose, or changed.
        """


class NoSeal:
    """Leaves bytes as they are.

    >>> NoSeal().close(b"seen", about="x")
    b'seen'
    """

    encrypts = False

    def close(self, plain: bytes, *, about: str) -> bytes:
        """The same bytes."""
        return plain

    def open(self, closed: bytes, *, about: str) -> bytes:
        """The same bytes."""
        return closed


class AesSeal:
    """AES-256-GCM with a random nonce in front.

    Args:
        key: 32 random bytes; whoever hands them over keeps them.
        randomness: gives that many random bytes.

    Raises:
        BadInput: when the key is none.
        MissingExtra: without the optional part ``signing``.

    >>> seal = AesSeal(bytes(32), randomness=lambda count: b"n" * count)
    >>> seal.open(seal.close(b"seen", about="x"), about="x")
    b'seen'
    """

    encrypts = True

    def __init__(self, key: bytes, *, randomness: Randomness) -> None:
        if not isinstance(key, bytes) or len(key) != KEY_BYTES:
            found = f"{len(key)} bytes" if isinstance(key, bytes) else type(key).__name__
            raise BadInput(
                expected=f"a key of {KEY_BYTES} bytes",
                found=found,
                remedy="make one with secrets.token_bytes(32), and keep it in the system's store",
            )
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ModuleNotFoundError:
            raise MissingExtra(extra="signing", purpose="to encrypt what waits") from None
        self._cipher = AESGCM(key)
        self._randomness = randomness

    def close(self, plain: bytes, *, about: str) -> bytes:
        """Nonce, ciphertext and tag."""
        nonce = self._randomness(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, about.encode())

    def open(self, closed: bytes, *, about: str) -> bytes:
        """The plain bytes; see :class:`Seal`."""
        from cryptography.exceptions import InvalidTag

        nonce, rest = closed[:_NONCE_BYTES], closed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, rest, about.encode())
        except (InvalidTag, ValueError):
            raise Unreadable from None
