"""Where a server listens, who asks it, and whom to trust."""

from __future__ import annotations

from pathlib import Path

import urllib3

from edgewise.errors import BadInput
from edgewise.running.linking.connection import Connection, advise, explain
from edgewise.running.linking.credentials import client_context, key_fields, not_let_in
from edgewise.running.linking.exchange import Broken


class Address:
    """A server as whoever asks it knows it.

    Args:
        url: where it listens, such as ``http://127.0.0.1:8000``.
        api_key: sent with every request, to this server alone.
        ca_path: PEM; trust these certificates instead of those that the system trusts.

    Raises:
        BadInput: when it is no such address, key or file.

    >>> Address("http://127.0.0.1:8000/under/").prefix
    '/under'
    """

    def __init__(
        self, url: str, *, api_key: str | None = None, ca_path: Path | str | None = None
    ) -> None:
        parsed = _parse(url)
        self.url = url
        self.prefix = (parsed.path or "").rstrip("/")
        self.fields = key_fields(api_key)
        self._scheme, self._port = str(parsed.scheme), parsed.port
        self._host = str(parsed.host).strip("[]")
        self._tls = client_context(ca_path) if self._scheme == "https" else None

    def connect(self) -> Connection:
        """A connection that begins with its first request."""
        return Connection(self._scheme, self._host, self._port, self._tls)

    def broken(self, error: Exception) -> Broken:
        """What sockets raise, in the words of a person, and what to do where that is known."""
        return Broken(explain(error), remedy=advise(error, is_encrypted=self._tls is not None))

    def not_let_in(self) -> BadInput:
        """What to raise when the server asks for another key, or for one."""
        return not_let_in(self.url, has_key=bool(self.fields))


def _parse(url: str) -> urllib3.util.Url:
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    extra = (parsed.auth, parsed.query, parsed.fragment)
    if parsed.scheme not in ("http", "https") or not parsed.host or any(extra):
        raise BadInput(
            expected="a server address such as http://127.0.0.1:8000",
            found="one with a name or password in it" if parsed.auth else repr(url[:200]),
            remedy="copy the address that 'edgewise serve' prints",
        )
    return parsed
