"""Find examples in a folder or a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.examples.arrays import array_examples
from edgewise.examples.example_set import MAX_EXAMPLES, Examples, Label
from edgewise.examples.matching import Form, check_inputs
from edgewise.examples.photos import photo_examples
from edgewise.examples.tables import SUFFIXES, Table, open_table, read_label
from edgewise.examples.texts import text_examples
from edgewise.preparation import ImagePreparation, TextPreparation
from edgewise.tensors import TensorSpec

_TABLE = "labels.csv"
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def load_examples(
    path: Path,
    preparation: ImagePreparation | TextPreparation | None = None,
    *,
    input_name: str | None = None,
    inputs: Sequence[TensorSpec] = (),
    tokenizer: str | None = None,
) -> Examples:
    """Examples from a folder or a file.

    * a folder with ``labels.csv``: columns ``file`` and ``label`` (or another of those below);
    * a folder of class folders: the folder's name is the label; of digits, the class index;
    * a folder of photos, or one photo: no labels;
    * ``.npz``: one array per input, one row per example, and the labels ``y`` if known;
    * ``.csv`` or ``.tsv`` of texts: column ``text`` or ``sentence``, or the first that is none of
      the labels ``label``, ``class_index``, ``group``, ``score``; labels if known.

    Args:
        path: the folder or file.
        preparation: how photos or texts become inputs; not needed for ``.npz`` of prepared
            arrays.
        input_name: the network's input, when it is not the one that ``preparation`` names.
        inputs: what the model takes, to check that the examples fit before anything runs.
        tokenizer: for texts, the ``tokenizer.json`` from the model's metadata.

    Raises:
        BadInput: when there are no examples, or one of them is no photo, leads out of the folder
            or is not a finite number, or when they are not what the model takes.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        pictures = preparation if isinstance(preparation, ImagePreparation) else None
        return array_examples(path, pictures, input_name=input_name, inputs=inputs)
    if suffix in SUFFIXES:
        if not isinstance(preparation, TextPreparation):
            raise _cannot_prepare(preparation, f"the texts in {path}")
        return text_examples(path, preparation, tokenizer, inputs)
    if not isinstance(preparation, ImagePreparation):
        raise _cannot_prepare(preparation, f"the photos in {path}")
    return _load_photos(path, preparation, input_name, inputs)


def _load_photos(
    path: Path,
    preparation: ImagePreparation,
    input_name: str | None,
    inputs: Sequence[TensorSpec],
) -> Examples:
    name = input_name or preparation.input
    form = Form(dtype="float32", shape=preparation.shape)
    check_inputs({name: form}, inputs, where=f"the photos of {path}")
    named = list(_limited(_find(path), path))
    if not named:
        raise BadInput(
            expected=f"photos ({', '.join(_SUFFIXES)}) in {path}",
            found="none",
            remedy=f"add photos, class folders, or {_TABLE} with the columns file,label",
        )
    names, files, labels = zip(*named, strict=True)
    return photo_examples(files, names, labels, preparation, name)


def _cannot_prepare(preparation: ImagePreparation | TextPreparation | None, what: str) -> BadInput:
    if preparation is None:
        return BadInput(
            expected=f"a preparation for {what}",
            found="none",
            remedy="use a model with edgewise.preparation in its metadata",
        )
    reads_text = isinstance(preparation, TextPreparation)
    return BadInput(
        expected=f"a model that can read {what}",
        found="one that reads text" if reads_text else "one that reads pictures",
        remedy="pass a .csv or .tsv of texts" if reads_text else "pass a folder of photos",
    )


_Found = tuple[str, Path, Label | None]


def _find(path: Path) -> Iterator[_Found]:
    if path.is_file():
        return iter([(path.name, path, None)])
    if not path.is_dir():
        raise BadInput(
            expected=f"a folder of examples, a photo, .npz, .csv or .tsv file at {path}",
            found="nothing",
            remedy="check the path",
        )
    if (path / _TABLE).is_file():
        return _in_table(path)
    folders = sorted(entry for entry in _visible(path) if entry.is_dir())
    return _in_class_folders(path, folders) if folders else _in_folder(path, path, None)


def _limited(found: Iterator[_Found], path: Path) -> Iterator[_Found]:
    for count, item in enumerate(found):
        if count >= MAX_EXAMPLES:
            raise BadInput(
                expected=f"at most {MAX_EXAMPLES} examples in {path}",
                found="more",
                remedy="use a sample of them",
            )
        yield item


def _visible(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]


def _in_class_folders(root: Path, folders: list[Path]) -> Iterator[_Found]:
    loose = next((file for file in sorted(_visible(root)) if _is_photo(file)), None)
    if loose is not None:
        raise BadInput(
            expected=f"either class folders or photos in {root}",
            found=f"both, such as {folders[0].name}/ and {loose.name}",
            remedy="move the photos into class folders",
        )
    for folder in folders:
        _check_inside(root, folder)
        yield from _in_folder(root, folder, read_label(folder.name))


def _in_folder(root: Path, folder: Path, label: Label | None) -> Iterator[_Found]:
    for file in sorted(_visible(folder)):
        if _is_photo(file):
            _check_inside(root, file)
            yield file.relative_to(root).as_posix(), file, label


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES


def _in_table(root: Path) -> Iterator[_Found]:
    table = open_table(root / _TABLE)
    column = table.label_column
    if "file" not in table.columns or column is None:
        raise BadInput(
            expected=f"the columns file and label (or class_index) in {table.path}",
            found=", ".join(table.columns)[:120] or "no columns",
            remedy="name them in the first line",
        )
    for line, row in table.rows("file", column):
        yield row["file"], _listed_file(table, row["file"], line), table.label(row[column], line)


def _listed_file(table: Table, name: str, line: int) -> Path:
    root = table.path.parent
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise _outside(root, f"{name[:80]!r} in line {line} of {_TABLE}")
    file = root / name
    try:
        exists = file.is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise table.refuse(line, f"{name[:80]!r}, which is no file")
    _check_inside(root, file)
    return file


def _check_inside(root: Path, file: Path) -> None:
    if not file.resolve().is_relative_to(root.resolve()):
        raise _outside(root, f"{file.relative_to(root).as_posix()!r}, a link to elsewhere")


def _outside(root: Path, found: str) -> BadInput:
    return BadInput(
        expected=f"examples inside {root}", found=found, remedy="copy the photo into the folder"
    )
