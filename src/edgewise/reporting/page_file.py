"""One HTML file without network access: templates, always escaped, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2

from edgewise.errors import BadInput
from edgewise.reporting.sheet import Sheet


def write_report(
    path: Path, *, title: str, sheets: Sequence[Sheet], facts: Mapping[str, str] | None = None
) -> None:
    """Write tables as one page.

    Args:
        path: of the HTML file; an older one is replaced.
        title: the page's heading.
        sheets: in the order in which they are read.
        facts: what stands above them, by what one calls it.

    Raises:
        BadInput: when it cannot be written.
    """
    write_page(path, "report.html", {"title": title, "sheets": sheets, "facts": facts or {}})


def write_page(path: Path, template: str, values: Mapping[str, object]) -> None:
    """Fill a template and write it.

    Raises:
        BadInput: when it cannot be written.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("edgewise.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    write_text(path, environment.get_template(template).render(values))


def write_text(path: Path, text: str) -> None:
    """Write a text to a file, whole or not at all.

    Raises:
        BadInput: when it cannot be written.
    """
    staged: Path | None = None
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written to, not replaced
            path.write_text(text, "utf-8", errors="replace")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="replace",
            dir=path.parent,
            prefix=f".{path.name}-",
            delete=False,
        ) as file:
            staged = Path(file.name)
            file.write(text)
        staged.chmod(0o644)
        os.replace(staged, path)
    except OSError as error:
        raise BadInput(
            expected=f"room and permission to write {path}",
            found=_found(error),
            remedy="free some space or choose another place; nothing was left behind",
        ) from None
    finally:
        if staged is not None:
            staged.unlink(missing_ok=True)


def _found(error: OSError) -> str:
    if isinstance(error, FileExistsError):
        return f"a file, not a folder, at {error.filename}"
    return error.strerror or type(error).__name__
