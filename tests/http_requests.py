"""Requests to a server, each over a connection of its own."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from edgewise.bounds import Bound
from edgewise.wire import HEADER_LENGTH_FIELD, Frame, Message, decode_reply, encode_request
from session_bundles import image
from unit.serving import tiny_bundle as tiny

INFER = "/v2/models/tiny/infer"


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def error(self) -> str:
        return str(json.loads(self.body)["error"])

    @property
    def answered_by(self) -> str:
        """The version that an ``infer`` was answered by."""
        return str(json.loads(self._head)["model_version"])

    @property
    def logits(self) -> np.ndarray:
        bounds = [Bound.exactly(spec) for spec in tiny.OUTPUTS]
        frame = Frame(body=self.body, header_bytes=len(self._head))
        return decode_reply(frame, bounds).tensors["logits"]

    @property
    def _head(self) -> bytes:
        return self.body[: int(self.headers[HEADER_LENGTH_FIELD])]


def ask(url: str, path: str, body: bytes | None = None, **fields: str) -> Reply:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    connection.request("GET" if body is None else "POST", path, body, headers)
    reply = connection.getresponse()
    found = Reply(status=reply.status, headers=reply.headers, body=reply.read())
    connection.close()
    return found


def infer(
    url: str, path: str = INFER, *, id: str = "", bundle: str | None = None, **fields: str
) -> Reply:
    feature = tiny.weights().feature(image())
    parameters = {} if bundle is None else {"bundle": bundle}
    frame = encode_request(Message(tensors={"feature": feature}, id=id, parameters=parameters))
    return ask(url, path, frame.body, **fields, **{HEADER_LENGTH_FIELD: str(frame.header_bytes)})


def metrics(url: str, **fields: str) -> dict[tuple[str, str], float]:
    text = ask(url, "/metrics", **fields).body.decode()
    return {
        (sample.name, ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
