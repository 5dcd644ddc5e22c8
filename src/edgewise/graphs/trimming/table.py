"""The passes, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir

from edgewise.graphs.trimming import chains, constants, duplicates, fusing, no_ops, training
from edgewise.graphs.trimming.branches import inline_live_branches
from edgewise.graphs.trimming.normalisation import (
    ARITHMETIC,
    LAYERS,
    fold_arithmetic,
    fold_norms_into,
)
from edgewise.graphs.trimming.results import Pass
from edgewise.graphs.trimming.unused import drop_unused, drop_unused_inputs

ROUNDED_MAX_REL = 1e-5  # arithmetic in another order, or on weights that were multiplied before


def _exact(name: str, apply: Callable[[onnx_ir.Model], None], *ops: str) -> Pass:
    return Pass(name=name, apply=apply, ops=frozenset(ops))


def _rounded(name: str, apply: Callable[[onnx_ir.Model], None], *ops: str) -> Pass:
    return Pass(name=name, apply=apply, ops=frozenset(ops), max_rel=ROUNDED_MAX_REL)


# Neighbours that promise the same are proved together: the fewer changes of kind, the fewer runs.
PASSES: tuple[Pass, ...] = (
    _exact("Constant nodes stored as weights", constants.lift_constants),
    _exact("nodes, outputs and weights that nothing reads", drop_unused),
    _exact("inputs that nothing reads", drop_unused_inputs),
    _exact("branches that never run", inline_live_branches, "If"),
    _exact("Dropout", training.drop_dropout, "Dropout"),
    _exact("Identity", no_ops.drop_identities, "Identity"),
    _exact("shapes that are known", constants.fold_shapes, "Shape", "Size"),
    _rounded("constants computed in advance", constants.fold_constants),
    _rounded("x·1, x/1, x+0, x-0, x¹", no_ops.drop_neutral_arithmetic, *no_ops.ARITHMETIC),
    _exact("Reshape targets that are known", chains.fix_reshapes, "Reshape"),
    _exact("operators that change nothing", no_ops.drop_no_ops, *no_ops.NO_OPS),
    _exact("Expand before what spreads anyway", no_ops.skip_expands, "Expand"),
    _exact("initial states of zeros", no_ops.drop_zero_states, *no_ops.RECURRENT),
    _exact("operators applied twice", no_ops.drop_repetitions, *no_ops.REPEATABLE),
    _exact("consecutive Transposes merged", chains.merge_transposes, "Transpose"),
    _exact("Transposes that only regroup", chains.regroup_transposes, "Transpose"),
    _exact("consecutive Slices merged", chains.merge_slices, "Slice"),
    _exact("consecutive Reshapes merged", chains.merge_reshapes, *chains.RESHAPES),
    _exact("consecutive Casts merged", chains.merge_casts, "Cast"),
    _exact("empty parts of Concats", chains.drop_empty_parts, "Concat"),
    _exact("consecutive Concats merged", chains.merge_concats, "Concat"),
    _exact(
        "Squeeze and Unsqueeze merged into reductions",
        chains.merge_reductions,
        *("Squeeze", "Unsqueeze"),
    ),
    _exact("Max and Min merged into Clip", fusing.fuse_limits, "Max", "Min"),
    _exact("duplicate weights merged", duplicates.merge_weights),
    _exact("equal subexpressions merged", duplicates.merge_expressions),
    _rounded("consecutive Clips and Relus merged", chains.merge_clips, "Clip", "Relu"),
    *(
        _rounded(f"BatchNormalization folded into {op}", fold_norms_into(op), "BatchNormalization")
        for op in LAYERS
    ),
    _rounded("consecutive sums or products merged", fusing.fuse_arithmetic, "Add", "Mul"),
    _rounded("sums and products folded into the layer before", fold_arithmetic, *ARITHMETIC),
    _rounded("Pad merged into Conv or AveragePool", fusing.fuse_pads, "Conv", "AveragePool"),
    _rounded("MatMul and Add merged into Gemm", fusing.fuse_gemms, "Add"),
    _rounded("Transpose merged into Gemm", fusing.fuse_transposes, "Gemm"),
)
