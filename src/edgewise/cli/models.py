"""A network named on the command line: a file, or an entry of the zoo."""

from __future__ import annotations

import argparse
import difflib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgewise.cli.console import progress_bar
from edgewise.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from edgewise.graphs import Model
    from edgewise.preparation import ImagePreparation, TextPreparation
_FROM_TORCH = (
    "a PyTorch file",
    "export it: torch.onnx.export(module, (example,), 'net.onnx'), or in Python: "
    "edgewise.load(module, example=(example,))",
)
_FOREIGN = {
    **dict.fromkeys((".pt", ".pth", ".pt2", ".ckpt", ".bin"), _FROM_TORCH),
    ".safetensors": ("weights without a graph", "export the whole network to ONNX"),
    ".tflite": ("a TensorFlow Lite network", "convert it: python -m tf2onnx.convert --tflite"),
    ".h5": ("a Keras network", "export it: model.export('net.onnx', format='onnx')"),
    ".keras": ("a Keras network", "export it: model.export('net.onnx', format='onnx')"),
}
STUDIO = ("PIL", "jinja2", "networkx", "onnx", "onnx_ir", "rich")
"""The modules that making bundles takes."""


def add_model(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    """The positional that names a network."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        nargs="?" if optional else None,
        help="an ONNX file, or a name from 'edgewise zoo list'",
    )


def open_model(text: str, *, custom_ops: Sequence[Path] = ()) -> Model:
    """Load the network that ``text`` names.

    Args:
        text: a path, or a name of the zoo.
        custom_ops: libraries that define its own operators; their native code runs.

    Raises:
        BadInput: when it is neither a file nor an entry of the zoo.
    """
    require_studio()
    from edgewise import zoo
    from edgewise.graphs import load

    path = Path(text)
    _refuse_foreign(path)
    if path.exists() or path.suffix == ".onnx" or "/" in text:
        return load(path, custom_ops=custom_ops)
    check_name(text, kind="an ONNX file or one of", names=[e.name for e in zoo.entries()])
    with progress_bar(lines=True) as progress:
        path = zoo.get(text, progress=progress)
    return load(path)


def _refuse_foreign(path: Path) -> None:
    if path.suffix.lower() in _FOREIGN and path.is_file():
        found, remedy = _FOREIGN[path.suffix.lower()]
        raise BadInput(
            expected=f"an ONNX file at {path}", found=f"{found}, by its name", remedy=remedy
        )


def check_name(text: str, *, kind: str, names: Sequence[str]) -> None:
    """Refuse a name that is not there, with the one that was probably meant.

    Raises:
        BadInput: when ``names`` does not have it.
    """
    if text not in names:
        near = difflib.get_close_matches(text, names, n=1)
        raise BadInput(
            expected=f"{kind} {', '.join(names)}",
            found=repr(text[:80]),
            remedy=f"did you mean {near[0]}?" if near else "check the name or the path",
        )


def pictures_of(model: Model) -> ImagePreparation | None:
    """How photos become the model's input; None when it takes texts or tensors."""
    preparation = preparation_of(model)
    from edgewise.preparation import ImagePreparation

    return preparation if isinstance(preparation, ImagePreparation) else None


def reads_text(model: Model) -> bool:
    """Whether texts become the model's inputs."""
    preparation = preparation_of(model)
    from edgewise.preparation import TextPreparation

    return isinstance(preparation, TextPreparation)


def preparation_of(model: Model) -> ImagePreparation | TextPreparation | None:
    """How photos or texts become the model's inputs, when its metadata says."""
    from edgewise.graphs import PREPARATION_KEY
    from edgewise.preparation import read_preparation

    text = model.metadata.get(PREPARATION_KEY)
    return None if text is None else read_preparation(text)


def takes_photos(model: Model) -> bool:
    """Whether examples of this network are photos; when what says so is bad, they are tensors."""
    try:
        return pictures_of(model) is not None
    except BadInput:  # whoever needs it will say so
        return False


def require_studio() -> None:
    """Refuse clearly on a bare install.

    Raises:
        MissingExtra: without the packages that make bundles.
    """
    missing = [name for name in STUDIO if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(extra="studio", purpose="to work on networks")
