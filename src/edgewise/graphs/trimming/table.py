"""The passes, in the order in which they are tried."""

from __future__ import annotations

from functools import partial

from edgewise.graphs.trimming import chains, constants, duplicates, fusing, no_ops, training
from edgewise.graphs.trimming.branches import inline_live_branches
from edgewise.graphs.trimming.normalisation import LAYERS, fold_arithmetic, fold_norms_into
from edgewise.graphs.trimming.results import Pass
from edgewise.graphs.trimming.unused import drop_unused, drop_unused_inputs

ROUNDED_MAX_REL = 1e-5  # arithmetic in another order, or on weights that were multiplied before

_exact = partial(Pass, max_rel=0.0)
_rounded = partial(Pass, max_rel=ROUNDED_MAX_REL)

PASSES: tuple[Pass, ...] = (
    _exact(name="Constant nodes stored as weights", apply=constants.lift_constants),
    _exact(name="nodes and weights that no output needs", apply=drop_unused),
    _exact(name="inputs that nothing reads", apply=drop_unused_inputs),
    _exact(name="branches that never run", apply=inline_live_branches),
    _exact(name="Dropout", apply=training.drop_dropout),
    _exact(name="Identity", apply=no_ops.drop_identities),
    _exact(name="shapes that are known", apply=constants.fold_shapes),
    _rounded(name="constants computed in advance", apply=constants.fold_constants),
    _exact(name="Reshape targets that are known", apply=chains.fix_reshapes),
    _exact(name="operators that change nothing", apply=no_ops.drop_no_ops),
    _rounded(name="x·1, x/1, x+0, x-0, x¹", apply=no_ops.drop_neutral_arithmetic),
    _exact(name="Expand before what spreads anyway", apply=no_ops.skip_expands),
    _exact(name="initial states of zeros", apply=no_ops.drop_zero_states),
    _exact(name="operators applied twice", apply=no_ops.drop_repetitions),
    _exact(name="consecutive Transposes merged", apply=chains.merge_transposes),
    _exact(name="Transposes that only regroup", apply=chains.regroup_transposes),
    _exact(name="consecutive Slices merged", apply=chains.merge_slices),
    _exact(name="consecutive Reshapes merged", apply=chains.merge_reshapes),
    _exact(name="consecutive Casts merged", apply=chains.merge_casts),
    _exact(name="consecutive Concats merged", apply=chains.merge_concats),
    _exact(name="Squeeze and Unsqueeze merged into reductions", apply=chains.merge_reductions),
    _exact(name="Max and Min merged into Clip", apply=fusing.fuse_limits),
    _rounded(name="consecutive Clips and Relus merged", apply=chains.merge_clips),
    _exact(name="duplicate weights merged", apply=duplicates.merge_weights),
    _exact(name="equal subexpressions merged", apply=duplicates.merge_expressions),
    *(
        _rounded(name=f"BatchNormalization folded into {op}", apply=fold_norms_into(op))
        for op in LAYERS
    ),
    _rounded(name="consecutive sums or products merged", apply=fusing.fuse_arithmetic),
    _rounded(name="sums and products folded into the layer before", apply=fold_arithmetic),
    _rounded(name="Pad merged into Conv or AveragePool", apply=fusing.fuse_pads),
    _rounded(name="MatMul and Add merged into Gemm", apply=fusing.fuse_gemms),
    _rounded(name="Transpose merged into Gemm", apply=fusing.fuse_transposes),
)
