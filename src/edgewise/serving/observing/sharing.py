"""Where the worker processes of one server put their numbers, so that any of them shows all."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Named by prometheus-client, which counts into files there when it finds the variable.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@dataclass(frozen=True, slots=True)
class SharedNumbers:
    """A folder with a few files for each worker.

    Args:
        folder: of this server alone.
    """

    folder: Path

    def join(self) -> None:
        """Count there from now on; for a worker that has counted nothing yet."""
        os.environ[SHARED_FOLDER] = str(self.folder)
        if "prometheus_client" in sys.modules:  # it has looked for the variable already
            from prometheus_client import values

            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]

    def forget(self, pid: int) -> None:
        """Leave out what a worker that died had under way; what it counted stays."""
        for path in self.folder.glob(f"gauge_live*_{pid}.db"):
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def shared_numbers() -> Iterator[SharedNumbers]:
    """A place that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="edgewise-", ignore_cleanup_errors=True) as folder:
        yield SharedNumbers(Path(folder))
