"""What people write without edgewise: one network behind LitServe.

As a program: `serving_litserve.py MODEL PORT BATCH INPUTS DEADLINE`, where INPUTS is JSON, a list
of [name, dtype, shape]. LitServe takes JSON alone, so its tensors are base64 text. A DEADLINE in
seconds, 0 for its default of 30, is its own time-out for requests that wait.
"""

from __future__ import annotations

import base64
import json
import math
import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime

WAIT_S = 0.002
Feeds = dict[str, Any]


class Api(litserve.LitAPI):
    def __init__(self, model: str, inputs: list[list[Any]], most: int) -> None:
        super().__init__(max_batch_size=most, batch_timeout=WAIT_S if most > 1 else 0.0)
        self.model, self.inputs, self.network = model, inputs, None

    def setup(self, device: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.network = onnxruntime.InferenceSession(
            self.model, options, providers=["CPUExecutionProvider"]
        )

    def decode_request(self, request: dict[str, str]) -> Feeds:
        body, arrays, offset = base64.b64decode(request["x"]), {}, 0
        for name, dtype, shape in self.inputs:
            arrays[name] = np.frombuffer(body, dtype, math.prod(shape), offset).reshape(shape)
            offset += arrays[name].nbytes
        return arrays

    def batch(self, inputs: list[Feeds]) -> Feeds:
        return {name: np.concatenate([x[name] for x in inputs]) for name in inputs[0]}

    def unbatch(self, output: Any) -> list[Any]:
        return [output[i : i + 1] for i in range(len(output))]

    def predict(self, x: Feeds) -> Any:
        return self.network.run(None, x)[0]

    def encode_response(self, output: Any) -> dict[str, str]:
        return {"y": base64.b64encode(np.ascontiguousarray(output).tobytes()).decode()}


if __name__ == "__main__":
    path, number, batch, taken, deadline = sys.argv[1:]
    api = Api(path, json.loads(taken), int(batch))
    # An engine in each of as many processes as there are cores.
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=os.cpu_count() or 1,
        timeout=float(deadline) or 30.0,
    )
    server.run(
        host="127.0.0.1",
        port=int(number),
        num_api_servers=1,
        generate_client_file=False,
        log_level="error",
    )
