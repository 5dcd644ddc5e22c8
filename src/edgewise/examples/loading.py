"""Find examples in a folder or a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgewise.errors import BadInput
from edgewise.examples.arrays import array_examples
from edgewise.examples.example_set import MAX_EXAMPLES, Examples, Label
from edgewise.examples.photos import photo_examples
from edgewise.preparation import ImagePreparation

_TABLE = "labels.csv"
_LABEL_COLUMNS = ("label", "class_index")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")
_MAX_TABLE_BYTES = 64_000_000


def load_examples(
    path: Path,
    preparation: ImagePreparation | None = None,
    *,
    input_name: str | None = None,
) -> Examples:
    """Examples from a folder or a file.

    * a folder with ``labels.csv``: columns ``file`` and ``label`` (or ``class_index``);
    * a folder of class folders: the folder's name is the label; of digits, the class index;
    * a folder of photos, or one photo: no labels;
    * ``.npz``: one array per input, one row per example, and the labels ``y`` if known.

    Args:
        path: the folder or file.
        preparation: how photos become inputs; not needed for ``.npz`` of prepared arrays.
        input_name: the network's input, when it is not the one that ``preparation`` names.

    Raises:
        BadInput: when there are no examples, or one of them is no photo, leads out of the folder
            or is not a finite number.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return array_examples(path, preparation, input_name)
    if preparation is None:
        raise BadInput(
            expected=f"a preparation for the photos in {path}",
            found="none",
            remedy="use a model with edgewise.preparation in its metadata",
        )
    named = list(_limited(_find(path), path))
    if not named:
        raise BadInput(
            expected=f"photos ({', '.join(_SUFFIXES)}) in {path}",
            found="none",
            remedy=f"add photos, class folders, or {_TABLE} with the columns file,label",
        )
    names, files, labels = zip(*named, strict=True)
    return photo_examples(files, names, labels, preparation, input_name)


_Found = tuple[str, Path, Label | None]


def _find(path: Path) -> Iterator[_Found]:
    if path.is_file():
        return iter([(path.name, path, None)])
    if not path.is_dir():
        raise BadInput(
            expected=f"a folder of examples, a photo or a .npz file at {path}",
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
        yield from _in_folder(root, folder, _label(folder.name))


def _in_folder(root: Path, folder: Path, label: Label | None) -> Iterator[_Found]:
    for file in sorted(_visible(folder)):
        if _is_photo(file):
            _check_inside(root, file)
            yield file.relative_to(root).as_posix(), file, label


def _is_photo(file: Path) -> bool:
    return file.suffix.lower() in _SUFFIXES


def _in_table(root: Path) -> Iterator[_Found]:
    table = root / _TABLE
    rows = csv.DictReader(io.StringIO(_read_table(table), newline=""), strict=True)
    try:
        column = _label_column(rows.fieldnames or (), table)
        for row in rows:
            name, label = row["file"], row[column]
            if not name or not label:
                raise _bad_row(table, rows.line_num, "an empty cell")
            yield name, _listed_file(root, name, rows.line_num), _label(label)
    except csv.Error as error:
        raise _bad_row(table, rows.line_num, str(error)) from None


def _read_table(table: Path) -> str:
    with table.open("rb") as file:
        raw = file.read(_MAX_TABLE_BYTES + 1)
    if len(raw) > _MAX_TABLE_BYTES:
        raise BadInput(
            expected=f"at most {_MAX_TABLE_BYTES // 10**6} MB in {table}",
            found="more",
            remedy="use fewer examples",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadInput(
            expected=f"UTF-8 text in {table}", found="other bytes", remedy="save it as UTF-8"
        ) from None


def _label_column(columns: Sequence[str], table: Path) -> str:
    label = next((name for name in _LABEL_COLUMNS if name in columns), None)
    if "file" not in columns or label is None:
        raise BadInput(
            expected=f"the columns file and label (or class_index) in {table}",
            found=", ".join(map(str, columns))[:120] or "no columns",
            remedy="name them in the first line",
        )
    return label


def _listed_file(root: Path, name: str, line: int) -> Path:
    parts = Path(name).parts
    if Path(name).is_absolute() or ".." in parts or "\0" in name:
        raise _outside(root, f"{name[:80]!r} in line {line} of {_TABLE}")
    file = root / name
    try:
        exists = file.is_file()
    except OSError:  # such as a name that is too long
        exists = False
    if not exists:
        raise _bad_row(root / _TABLE, line, f"{name[:80]!r}, which is no file")
    _check_inside(root, file)
    return file


def _check_inside(root: Path, file: Path) -> None:
    if not file.resolve().is_relative_to(root.resolve()):
        raise _outside(root, f"{file.relative_to(root).as_posix()!r}, a link to elsewhere")


def _outside(root: Path, found: str) -> BadInput:
    return BadInput(
        expected=f"examples inside {root}", found=found, remedy="copy the photo into the folder"
    )


def _bad_row(table: Path, line: int, found: str) -> BadInput:
    return BadInput(
        expected=f"a photo and its label in line {line} of {table}",
        found=found,
        remedy="correct or remove the line",
    )


def _label(text: str) -> Label:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else text
