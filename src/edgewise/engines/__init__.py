"""The only door to the libraries that execute networks."""

from edgewise.engines.emulated import EmulatedEngine, Pace
from edgewise.engines.engine import Engine, Optimisation
from edgewise.engines.onnxruntime import OnnxRuntimeEngine, open_engine

__all__ = ["EmulatedEngine", "Engine", "OnnxRuntimeEngine", "Optimisation", "Pace", "open_engine"]
