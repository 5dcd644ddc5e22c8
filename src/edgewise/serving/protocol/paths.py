"""Which endpoint a path is for."""

from __future__ import annotations

import re

from edgewise.serving.protocol.endpoints import ENDPOINTS

METRICS = "metrics"


def _shape(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{([a-z]+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))


_SHAPES = (
    *((one.answer, _shape(path)) for one in ENDPOINTS for path in one.paths),
    (METRICS, _shape("/metrics")),
)


def find_endpoint(path: str) -> tuple[str, dict[str, str]]:
    """A word for a path, from a short list, and what fills its blanks.

    Paths are hostile and without end; those of no endpoint are one word.

    >>> find_endpoint("/v2/models/cats/infer"), find_endpoint("/etc/passwd")
    (('infer', {'model': 'cats'}), ('other', {}))
    """
    for name, shape in _SHAPES:
        match = shape.fullmatch(path)
        if match is not None:
            return name, match.groupdict()
    return "other", {}
