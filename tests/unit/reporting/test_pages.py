"""One-file pages: nothing from strangers' files is obeyed, nothing comes from elsewhere."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from edgewise.errors import BadInput
from edgewise.reporting import DemoPage, PageAnswer, Sheet, write_demo, write_report
from plans import EVIL, answer, plan


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._hidden = ""
        self.feed(text)
        self.close()
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden = tag if tag == "style" else ""

    def handle_endtag(self, tag: str) -> None:
        self._hidden = ""

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)


def read(path: Path) -> Reader:
    text = path.read_text(encoding="utf-8")
    reader = Reader(text)
    assert not [tag for tag, _ in reader.tags if tag in ("script", "link", "iframe", "object")]
    for tag, attrs in reader.tags:
        assert not [name for name in attrs if name.startswith("on")]
        assert not {"href", "srcset", "action"} & attrs.keys()
        if "src" in attrs:
            assert (attrs["src"] or "").startswith("data:image/jpeg;base64,"), tag
    assert not re.search(r"@import|url\(", text)
    (policy,) = [
        attrs["content"]
        for _, attrs in reader.tags
        if "content-security-policy" in (attrs.get("http-equiv") or "").lower()
    ]
    assert (policy or "").startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in text
    return reader


def shown(*, name: str = "cat.jpg", label: str = "cat", cut: bool = False) -> PageAnswer:
    return PageAnswer(
        plan=_PLAN,
        link_cut=cut,
        name=name,
        thumbnail=b"jpeg",
        label=label,
        expected="cat",
        predicted_s=None if cut else 0.1,
        answer=answer("local", kind="local", reason="the cloud is offline") if cut else answer(),
    )


_PLAN = plan()


def demo(answers: list[PageAnswer], **changes: str) -> DemoPage:
    texts = {"model": "net", "machine": "CPU", "device": "emulated", "variant": "kept", **changes}
    return DemoPage(plans=[_PLAN, plan(stays=True)], answers=answers, **texts)


def test_a_report_shows_every_cell(tmp_path: Path) -> None:
    sheet = Sheet.of("Sizes", ["name", "#bytes"], [("a", "1"), ("b", "22")], "2 more")
    write_report(tmp_path / "r.html", title="net", sheets=[sheet], facts={"inputs": "image"})
    page = read(tmp_path / "r.html")
    assert page.text == "edgewise: net net inputs image Sizes name bytes a 1 b 22 2 more"
    cells = [attrs.get("class") for tag, attrs in page.tags if tag in ("th", "td")]
    assert cells == [None, "n"] * 3


def test_a_report_escapes_everything(tmp_path: Path) -> None:
    sheet = Sheet.of(EVIL, [EVIL, f"#{EVIL}"], [(EVIL, EVIL)], EVIL)
    write_report(tmp_path / "r.html", title=EVIL, sheets=[sheet], facts={EVIL: EVIL})
    assert read(tmp_path / "r.html").text.count(EVIL) == 10


def test_the_demo_page_escapes_everything(tmp_path: Path) -> None:
    texts = dict.fromkeys(("model", "machine", "device", "variant"), EVIL)
    evil = [shown(name=EVIL, label=EVIL), shown(name='"><img src=x onerror=alert(1)>')]
    page = DemoPage(plans=[plan(link=EVIL, cut=EVIL)], answers=evil, **texts)
    write_demo(page, tmp_path / "d.html")
    assert read(tmp_path / "d.html").text.count(EVIL) >= 8


def test_the_first_lines_are_the_verdict(tmp_path: Path) -> None:
    write_demo(
        demo([shown(), shown(label="dog"), shown(cut=True), shown(cut=True)]), tmp_path / "d.html"
    )
    page = read(tmp_path / "d.html")
    assert "3 of 4 answers are those of the full network." in page.text
    assert "While the link was cut, 2 of 2 photos were answered all the same" in page.text
    assert page.text.index("3 of 4 answers") < 150
    assert "dog cat.jpg; the full network says cat" in page.text


def test_a_card_puts_measured_beside_predicted(tmp_path: Path) -> None:
    write_demo(demo([shown(), shown()]), tmp_path / "d.html")
    page = read(tmp_path / "d.html")
    # Preparing the photo, one second, is left out: every route shares it.
    assert "lte 5.85 Mbit/s up, unlimited down, 50.0 ms round trip 100.0 ms measured, median of 2;"
    assert "100.0 ms measured, median of 2; predicted 100.0 ms" in page.text
    assert "cut after block4/add, sent as INT8 100.0 ms split3-int8: chosen" in page.text
    assert "cloud-jpeg90: decides otherwise; sends 1.0 kB" in page.text
    assert "all on the device 400.0 ms local: 300.0 ms slower; sends nothing" in page.text
    assert "When the photo itself must not leave the device" in page.text
    assert "the next 6 of 23 ways that were costed" in page.text


def test_bars_stay_within_their_box_and_add_up(tmp_path: Path) -> None:
    write_demo(demo([shown(), shown(cut=True)]), tmp_path / "d.html")
    widths: list[float] = []
    bars: list[float] = []
    for tag, attrs in read(tmp_path / "d.html").tags:
        if attrs.get("class") == "bar":
            bars.append(0.0)
        if tag == "i" and "style" in attrs:
            widths.append(float((attrs["style"] or "").removeprefix("width:").rstrip("%")))
            bars[-1] += widths[-1]
    assert len(bars) > 10
    assert all(0 <= width <= 100 for width in widths)
    assert max(bars) == pytest.approx(100, abs=0.1)
    assert all(bar <= 100.1 for bar in bars)


def test_without_answers_there_is_still_a_page(tmp_path: Path) -> None:
    write_demo(demo([]), tmp_path / "d.html")
    page = read(tmp_path / "d.html")
    assert "0 of 0 answers" in page.text
    assert "measured, median" not in page.text


def test_an_older_page_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.html"
    for title in ("first", "second"):
        write_report(path, title=title, sheets=[])
    assert "second" in read(path).text
    assert [entry.name for entry in path.parent.iterdir()] == ["r.html"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(BadInput, match="room and permission to write"):
        write_report(tmp_path / "r.html", title="t", sheets=[])


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.html").mkdir()
    for path in (tmp_path / "file" / "r.html", tmp_path / "folder.html"):
        with pytest.raises(BadInput, match="expected room and permission to write"):
            write_report(path, title="t", sheets=[])
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder.html"]


def test_lone_surrogates_are_written_somehow(tmp_path: Path) -> None:
    # A file name that is no UTF-8 reaches us with these.
    write_report(tmp_path / "r.html", title="a\udce9b", sheets=[])
    assert "a?b" in read(tmp_path / "r.html").text


def test_a_pipe_or_device_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_report(pipe, title="Sizes", sheets=[])
        assert os.read(reader, 100_000).startswith(b"<!doctype html>")
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert [entry.name for entry in tmp_path.iterdir()] == ["pipe"]


def test_a_folder_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"found a file, not a folder, at .*file; free some space"):
        write_report(tmp_path / "file" / "page.html", title="Sizes", sheets=[])
