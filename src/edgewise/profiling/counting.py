"""Count what a network computes and moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from edgewise.errors import BadInput
from edgewise.graphs import ListedNode, ListedTensor, Listing, Model, list_graph
from edgewise.profiling.liveness import find_peak
from edgewise.profiling.macs import Shapes, macs_of
from edgewise.profiling.profile import EdgeProfile, NodeProfile, Profile, Unsized
from edgewise.tensors import Axes

_Tensors = Mapping[str, ListedTensor]


def count(model: Model, *, batch: int = 1, axes: Axes | None = None) -> Profile:
    """MACs, bytes and peak memory of a network.

    Conventions:

    * A MAC is one multiplication with one addition. Convolutions, matrix products, Einsum,
      recurrent cells and attention have MACs, padding counted as if it were data, bias not
      counted; everything else has none.
    * What depends on no input (Constant nodes and what is computed from them) is not listed:
      engines compute it once, while loading. Where it is read it counts as weights.
    * A node reads each tensor once and writes each output once. Nothing is fused or in place.
    * Of an If the branch with more MACs counts, among those that can run at these sizes; the body
      of a Loop or Scan as often as it runs; where only running tells how often, the node is in
      ``Profile.uncounted``. Bytes are those that the node reads and writes, not those inside its
      bodies; weights inside count.
    * Peak memory holds activations alone, in the graph's order: an input lives from the start to
      its last use, an intermediate from the node that makes it to its last use, an output to the
      end; a node holds its inputs and outputs together.
    * Texts, sequences and tensors whose size depends on the data count as nothing, and are in
      ``Profile.unsized``; the nodes that read or write them are in ``Profile.uncounted``.

    Args:
        model: a loaded network.
        batch: the size of the inputs' symbolic first axes that ``axes`` does not name.
        axes: sizes of symbolic axes by name.

    Raises:
        BadInput: when an axis has no size.
    """
    listing = list_graph(model, batch=batch, axes=axes)
    tensors = listing.tensors
    shapes: Shapes = {name: t.shape for name, t in tensors.items() if t.shape is not None}
    macs = [macs_of(node, shapes) for node in listing.nodes]
    open_ones = {name for name, tensor in tensors.items() if tensor.nbytes is None}
    profile = Profile(
        nodes=tuple(
            _profile_node(node, tensors, n) for node, n in zip(listing.nodes, macs, strict=True)
        ),
        uncounted=tuple(
            node.name
            for node, n in zip(listing.nodes, macs, strict=True)
            if n is None or not open_ones.isdisjoint((*node.reads, *node.outputs))
        ),
        unsized=tuple(
            Unsized(name=name, reason=tensor.unsized)
            for name, tensor in tensors.items()
            if tensor.nbytes is None
        ),
        edges=_profile_edges(listing),
    )
    return replace(profile, peak_activation_bytes=find_peak(profile, listing.outputs).bytes)


def check_sized(profile: Profile) -> None:
    """Refuse a network of which not every tensor has a known size; no plan can cost it.

    Raises:
        BadInput: with the first such tensor.
    """
    if profile.unsized:
        raise BadInput(
            expected="a known size of every tensor",
            found=str(profile.unsized[0]),
            remedy="cut or export the model before what depends on the data (NonZero, Loop, …)",
        )


def _profile_node(node: ListedNode, tensors: _Tensors, macs: int | None) -> NodeProfile:
    read = [tensors[name] for name in node.reads]
    stored_bytes = sum(tensor.nbytes or 0 for tensor in read if tensor.constant)
    return NodeProfile(
        name=node.name,
        op=node.op,
        macs=macs or 0,
        weight_bytes=stored_bytes + node.held_bytes,
        read_bytes=sum(tensor.nbytes or 0 for tensor in read if not tensor.constant),
        written_bytes=sum(tensors[name].nbytes or 0 for name in node.outputs),
    )


def _profile_edges(listing: Listing) -> tuple[EdgeProfile, ...]:
    producers: dict[str, str | None] = dict.fromkeys(listing.inputs)
    consumers: dict[str, list[str]] = {}
    for node in listing.nodes:
        producers.update(dict.fromkeys(node.outputs, node.name))
        for name in node.reads:
            consumers.setdefault(name, []).append(node.name)
    return tuple(
        EdgeProfile(
            name=name,
            producer=producer,
            consumers=tuple(consumers.get(name, ())),
            bytes=listing.tensors[name].nbytes or 0,
        )
        for name, producer in producers.items()
    )
