"""Texts on the command line of ``edgewise run``: typed, or in files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgewise.bundle import Bundle
from edgewise.errors import BadInput
from edgewise.records import read_start

TEXT_FILES = (".txt", ".csv", ".tsv")
_MAX_FILE_BYTES = 64_000_000


def named_texts(texts: Sequence[str], bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Texts that were typed, each with a name for messages.

    Raises:
        BadInput: when the bundle's network does not read texts.
    """
    for number, text in enumerate(texts, start=1):
        _check_reads_text(bundle, "--text")
        yield f"text {number}", text


def texts_in(file: Path, bundle: Bundle) -> Iterator[tuple[str, str]]:
    """The texts of a file, each with its line: a .txt has one on each, empty ones left out.

    Raises:
        BadInput: when the bundle's network does not read texts, the file has none, or it is no
            UTF-8.
    """
    _check_reads_text(bundle, str(file))
    lines = _lines(file) if file.suffix.lower() == ".txt" else _rows(file)
    for line, text in lines:
        yield f"{file}:{line}", text


def refuse_photo(file: Path, bundle: Bundle) -> None:
    """Refuse what is no text and no array for a network that reads texts.

    Raises:
        BadInput: when the bundle's network reads them.
    """
    if bundle.manifest.tokenizer is not None:
        raise BadInput(
            expected=f"texts or arrays for the bundle {bundle.manifest.name!r}, which reads texts",
            found=f"the file {file}",
            remedy="pass --text TEXT, or texts by line in a .txt, .csv or .tsv file",
        )


def _rows(file: Path) -> list[tuple[int, str]]:
    from edgewise.examples import read_texts

    return [(line, text) for line, text, _ in read_texts(file)]


def _lines(file: Path) -> list[tuple[int, str]]:
    raw = read_start(file, what="file of texts", max_bytes=_MAX_FILE_BYTES)
    if len(raw) > _MAX_FILE_BYTES:
        raise BadInput(
            expected=f"at most {_MAX_FILE_BYTES} bytes in {file}",
            found="more",
            remedy="split it into several files",
        )
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadInput(
            expected=f"UTF-8 in {file}",
            found=f"another encoding at byte {error.start}",
            remedy="save it as UTF-8",
        ) from None
    texts = [(line, text) for line, text in enumerate(lines, start=1) if text.strip()]
    if not texts:
        raise BadInput(
            expected=f"texts in {file}, one on each line", found="none", remedy="add some"
        )
    return texts


def _check_reads_text(bundle: Bundle, what: str) -> None:
    if bundle.manifest.tokenizer is None:
        raise BadInput(
            expected=f"a network that reads texts for {what}",
            found=f"the bundle {bundle.manifest.name!r}, which has no tokenizer",
            remedy="pass photos or arrays, or plan a model with edgewise.tokenizer metadata",
        )
