"""Read, check and cut an ONNX model."""

from edgewise.graphs.cuts import Cut, find_cuts
from edgewise.graphs.cutting import Halves, cut, wire_name
from edgewise.graphs.listing import ListedNode, ListedTensor, Listing, list_graph
from edgewise.graphs.loading import load
from edgewise.graphs.model import LABELS_KEY, PREPARATION_KEY, Model, save, to_bytes
from edgewise.graphs.payloads import Payload, QuantRange, quantisation
from edgewise.graphs.proof import Proof, check_proof, prove, prove_cuts, random_feeds

__all__ = [
    "LABELS_KEY",
    "PREPARATION_KEY",
    "Cut",
    "Halves",
    "ListedNode",
    "ListedTensor",
    "Listing",
    "Model",
    "Payload",
    "Proof",
    "QuantRange",
    "check_proof",
    "cut",
    "find_cuts",
    "list_graph",
    "load",
    "prove",
    "prove_cuts",
    "quantisation",
    "random_feeds",
    "save",
    "to_bytes",
    "wire_name",
]
