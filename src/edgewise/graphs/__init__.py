"""Read, check and cut an ONNX model."""

from edgewise.graphs.cutting.cuts import Cut, find_cuts
from edgewise.graphs.cutting.frontiers import FRONTIER_BOUND, Frontiers, find_frontiers
from edgewise.graphs.cutting.halves import Halves, cut, wire_name
from edgewise.graphs.cutting.holdings import Holding, weights_held
from edgewise.graphs.cutting.payloads import Payload, QuantRange, quantisation
from edgewise.graphs.cutting.proof import Proof, check_proof, prove, prove_cuts
from edgewise.graphs.feeds import random_feeds
from edgewise.graphs.fixing import fix_axes
from edgewise.graphs.listing import ListedBody, ListedNode, ListedTensor, Listing, list_graph
from edgewise.graphs.model import LABELS_KEY, PREPARATION_KEY, Model, save, to_bytes
from edgewise.graphs.outlines import Outline, OutlinedNode, OutlinedTensor, outline
from edgewise.graphs.reading.loading import load
from edgewise.graphs.reading.metadata import read_labels
from edgewise.graphs.sizes.axes import ASSUMED_AXIS
from edgewise.graphs.trimming import Pass, Removal, Trim, Trimmed, Undone, trim

__all__ = [
    "ASSUMED_AXIS",
    "FRONTIER_BOUND",
    "LABELS_KEY",
    "PREPARATION_KEY",
    "Cut",
    "Frontiers",
    "Halves",
    "Holding",
    "ListedBody",
    "ListedNode",
    "ListedTensor",
    "Listing",
    "Model",
    "Outline",
    "OutlinedNode",
    "OutlinedTensor",
    "Pass",
    "Payload",
    "Proof",
    "QuantRange",
    "Removal",
    "Trim",
    "Trimmed",
    "Undone",
    "check_proof",
    "cut",
    "find_cuts",
    "find_frontiers",
    "fix_axes",
    "list_graph",
    "load",
    "outline",
    "prove",
    "prove_cuts",
    "quantisation",
    "random_feeds",
    "read_labels",
    "save",
    "to_bytes",
    "trim",
    "weights_held",
    "wire_name",
]
