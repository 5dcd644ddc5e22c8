"""What bodies look like, as JSON Schema, for the OpenAPI description."""

from __future__ import annotations

from typing import Any

from edgewise.serving.observing.counting import SPANS
from edgewise.tensors import OIP_DATATYPES

Schema = dict[str, Any]


def _object(required: Schema, optional: Schema | None = None) -> Schema:
    properties = required | (optional or {})
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_TEXT: Schema = {"type": "string"}
_TRUTH: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SIZES = _list({"type": "integer", "minimum": -1})
_DATATYPE: Schema = {"enum": list(OIP_DATATYPES.values())}
_PARAMETERS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
    "maxProperties": 64,
}
_TENSOR = _object({"name": _TEXT, "datatype": _DATATYPE, "shape": _SIZES})
_SPAN = _object({"count": _COUNT, "ns": _COUNT})
_SHAPE = _list({"type": "integer", "minimum": 1}) | {"maxItems": 16}
_VALUES = {"type": "array", "items": {"type": ["number", "boolean", "array"]}}
_ASKED_PARAMETERS: Schema = {
    **_PARAMETERS,
    "properties": {
        "route": _TEXT,
        "cut": _TEXT,
        "codec": _TEXT,
        "bundle": _TEXT,
        "deadline_us": {"type": "integer", "minimum": 1},
        "timeout": _COUNT,
        "priority": _COUNT,
        "binary_data_output": _TRUTH,
    },
}
SCHEMAS: Schema = {
    "Any": {"type": "object"},
    "Error": _object({"error": _TEXT}) | {"additionalProperties": False},
    "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": _list(_TEXT)}),
    "Live": _object({"live": {"const": True}}),
    "Ready": _object({"ready": {"const": True}}),
    "Model": _object(
        {
            "name": _TEXT,
            "versions": _list(_TEXT),
            "platform": _TEXT,
            "inputs": _list(_TENSOR),
            "outputs": _list(_TENSOR),
        }
    ),
    "ModelReady": _object({"name": _TEXT, "ready": {"const": True}}),
    "Config": _object(
        {
            "name": _TEXT,
            "platform": _TEXT,
            "max_batch_size": _COUNT,
            "input": _list(_object({"name": _TEXT, "data_type": _TEXT, "dims": _SIZES})),
            "output": _list(_object({"name": _TEXT, "data_type": _TEXT, "dims": _SIZES})),
        }
    ),
    "Statistics": _object(
        {
            "model_stats": _list(
                _object(
                    {
                        "name": _TEXT,
                        "version": _TEXT,
                        "last_inference": _COUNT,
                        "inference_count": _COUNT,
                        "execution_count": _COUNT,
                        "inference_stats": _object(dict.fromkeys(SPANS, _SPAN)),
                    }
                )
            )
        }
    ),
    "SubmitReply": _object(
        {"key": _TEXT, "digest": _TEXT, "stored_at": _TEXT, "duplicate": _TRUTH}
    ),
    "IndexRequest": _object({}, {"ready": _TRUTH}),
    "Index": _list(_object({"name": _TEXT, "version": _TEXT, "state": _TEXT, "reason": _TEXT})),
    "InferRequest": _object(
        {
            "inputs": _list(
                _object({"name": _TEXT, "datatype": _DATATYPE, "shape": _SHAPE, "data": _VALUES})
            )
            | {"minItems": 1, "maxItems": 64}
        },
        {
            "id": _TEXT | {"maxLength": 256},
            "parameters": _ASKED_PARAMETERS,
            "outputs": _list(_object({"name": _TEXT}, {"parameters": _PARAMETERS})),
        },
    ),
    "InferReply": _object(
        {
            "model_name": _TEXT,
            "outputs": _list(
                _object(
                    {"name": _TEXT, "datatype": _DATATYPE, "shape": _SIZES},
                    {"data": _VALUES, "parameters": _PARAMETERS},
                )
            ),
        },
        {"model_version": _TEXT, "id": _TEXT, "parameters": _PARAMETERS},
    ),
}
