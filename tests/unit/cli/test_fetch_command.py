"""``edgewise fetch`` where nobody listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from edgewise.cli.entry import main

pytestmark = pytest.mark.net


def test_a_server_that_is_not_there_is_named_and_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    assert main(["fetch", url, "-o", str(tmp_path / "bundle")]) == 2
    assert capsys.readouterr().err == (
        f"edgewise: expected a server to talk to at {url}, found the connection was refused; "
        "check the server and the way to it\n"
    )
