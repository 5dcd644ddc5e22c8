"""What people write without edgewise: one network behind FastAPI, raw bytes in and out.

As a program: `serving_fastapi.py MODEL PORT BATCH INPUTS DEADLINE`, where INPUTS is JSON, a list
of [name, dtype, shape], and BATCH is ignored. A DEADLINE in seconds, 0 for none, bounds what is
under way as uvicorn does it: beyond as many requests as there are threads it answers 503.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import Body, FastAPI, Response

THREADS = 40  # of Starlette's pool


def session(model: str) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def feeds(body: bytes, inputs: list[list[Any]]) -> dict[str, Any]:
    arrays, offset = {}, 0
    for name, dtype, shape in inputs:
        count = math.prod(shape)
        arrays[name] = np.frombuffer(body, dtype, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    return arrays


def fastapi(model: str, port: int, inputs: list[list[Any]], deadline_s: float) -> None:
    network = session(model)
    app = FastAPI()

    @app.post("/predict")
    def predict(body: bytes = Body(media_type="application/octet-stream")) -> Any:
        return Response(b"".join(y.tobytes() for y in network.run(None, feeds(body, inputs))))

    uvicorn.run(
        app,
        host="127.0.0.1",
        port=port,
        log_level="error",
        access_log=False,
        limit_concurrency=THREADS if deadline_s else None,
    )


if __name__ == "__main__":
    path, number, _, taken, deadline = sys.argv[1:]
    fastapi(path, int(number), json.loads(taken), float(deadline))
