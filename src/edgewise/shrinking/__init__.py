"""Make networks smaller, and judge what that costs."""

from edgewise.shrinking.quantize import Quantize, quantize
from edgewise.shrinking.variant import Measured, Step, Variant, judge

__all__ = ["Measured", "Quantize", "Step", "Variant", "judge", "quantize"]
