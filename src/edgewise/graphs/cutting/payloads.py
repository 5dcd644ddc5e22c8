"""How a content tensor is written for the wire, by nodes of the two halves."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import onnx_ir

from edgewise.errors import BadInput


class Payload(enum.StrEnum):
    """What floating-point content crosses as.

    FP32 crosses as it is and loses nothing (whatever its width). FP16 is half the bytes; values
    beyond ±65504 become infinite, which the receiver refuses. INT8 is a quarter, with a range
    that someone measured. Integers, Booleans and structure always cross as they are.
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantRange:
    """The values that a tensor takes, for INT8; what lies beyond saturates."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise BadInput(
                expected="finite numbers low <= high as the range of a tensor",
                found=f"{self.low} to {self.high}",
                remedy="measure the range on real examples",
            )


def quantisation(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of unsigned 8-bit numbers for a range.

    As DynamicQuantizeLinear of the ONNX operator specification: the range is widened to hold 0,
    so that padding stays exact; scale = (high - low) / 255; zero point = round(-low / scale),
    halves to even. A value x becomes saturate(round(x / scale) + zero point), and comes back as
    (q - zero point) * scale. A range of nothing but 0 has scale 1.

    Returns:
        The scale, as the 32-bit float that the model stores, and the zero point, 0 to 255.

    >>> quantisation(0.0, 6.0)
    (0.0235294122248888, 0)
    """
    span = QuantRange(low=min(low, 0.0), high=max(high, 0.0))
    scale = float(np.float32((span.high - span.low) / 255))
    if not np.finfo(np.float32).tiny <= scale <= np.finfo(np.float32).max:
        scale = 1.0
    return scale, int(np.clip(np.rint(-span.low / scale), 0, 255))


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One node of a coding: its operator, and the element type that it gives."""

    op: str
    dtype: onnx_ir.DataType


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """The nodes that write a tensor at the end of the head and read it again in the tail.

    Args:
        encode: from the tensor to the boundary, in order; empty when it crosses as it is.
        decode: from the boundary back to the tensor, in order.
        scale: of QuantizeLinear and DequantizeLinear, where they occur.
        zero_point: of the same.
    """

    encode: tuple[Step, ...] = ()
    decode: tuple[Step, ...] = ()
    scale: float = 1.0
    zero_point: int = 0


def coding_of(dtype: onnx_ir.DataType, payload: Payload, span: QuantRange | None) -> Coding:
    """How a content tensor of some type crosses; empty when it crosses as it is.

    Raises:
        BadInput: when INT8 is asked for and no range is given.
    """
    if payload is Payload.FP32 or not dtype.is_floating_point():
        return Coding()
    if payload is Payload.INT8:
        return _quantised(dtype, span)
    if dtype is onnx_ir.DataType.FLOAT16:
        return Coding()
    return Coding(
        encode=(Step(op="Cast", dtype=onnx_ir.DataType.FLOAT16),),
        decode=(Step(op="Cast", dtype=dtype),),
    )


def _quantised(dtype: onnx_ir.DataType, span: QuantRange | None) -> Coding:
    if span is None:
        raise BadInput(
            expected="a range for every floating-point content tensor of an INT8 payload",
            found="none",
            remedy="pass ranges={name: QuantRange(low=…, high=…)}, measured on examples",
        )
    scale, zero_point = quantisation(span.low, span.high)
    single = onnx_ir.DataType.FLOAT
    wide = dtype is not single
    quantize = Step(op="QuantizeLinear", dtype=onnx_ir.DataType.UINT8)
    dequantize = Step(op="DequantizeLinear", dtype=single)
    return Coding(
        encode=(Step(op="Cast", dtype=single), quantize) if wide else (quantize,),
        decode=(dequantize, Step(op="Cast", dtype=dtype)) if wide else (dequantize,),
        scale=scale,
        zero_point=zero_point,
    )
