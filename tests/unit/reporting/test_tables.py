"""Tables for the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from edgewise.reporting import (
    PageAnswer,
    Sheet,
    answers_summary,
    candidates_table,
    demo_table,
    plans_table,
    terminal_table,
    trials_table,
)
from plans import answer, plan
from unit.trials.made_trials import trial


def drawn(sheet: Sheet, *, width: int = 160) -> str:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=False).print(terminal_table(sheet))
    return file.getvalue()


def test_a_table_holds_every_cell_of_its_sheet() -> None:
    sheet = Sheet.of("Sizes", ["name", "#bytes"], [("a", "1"), ("b", "22")], "2 more")
    lines = [line.split() for line in drawn(sheet).splitlines() if line.strip(" ─")]
    assert lines == [["Sizes"], ["name", "bytes"], ["a", "1"], ["b", "22"], ["2", "more"]]


def test_texts_are_neither_markup_nor_commands() -> None:
    text = drawn(Sheet.of("[bold]t", ["[/]", "#n"], [("[red]x\x1b[2J", "[link=y]")], "[/nope]"))
    for cell in ("[bold]t", "[/]", "[red]x\ufffd[2J", "[link=y]", "[/nope]"):
        assert cell in text
    assert "\x1b" not in text


def test_names_are_folded_and_quantities_never_are() -> None:
    sheet = Sheet.of(
        "Cuts", ["cut after", "#weights on device"], [("block1/project/conv", "9 kB")]
    )
    lines = drawn(sheet, width=24).splitlines()
    assert "weights" in lines[2]
    assert "on device" in lines[3]
    assert any("9 kB" in line for line in lines)
    cells = [line.split()[0] for line in lines[5:] if line.strip()]
    assert "".join(cells) == "block1/project/conv"
    assert "…" not in "".join(lines)


def test_the_fastest_candidates_and_every_other_kind() -> None:
    sheet = candidates_table(plan(), limit=2)
    assert sheet.title == "lte: 5.85 Mbit/s up, unlimited down, 50.0 ms round trip, on slow-phone"
    assert [row[0] for row in sheet.rows] == ["cloud-jpeg90", "split3-int8", "local"]
    assert sheet.remark == "20 slower splits not shown; --json lists them"
    assert sheet.rows[0][1:] == (
        "-", "10.0 ms", "20.0 ms", "10.0 ms", "40.0 ms", "1.0 kB", "decides otherwise",
    )  # fmt: skip
    assert sheet.rows[1][-1] == "chosen"
    assert candidates_table(plan(), limit=99).remark == ""


def test_what_runs_where() -> None:
    (row,) = plans_table([plan(stays=True)]).rows
    assert row == (
        "lte", "raw input stays", "split3-int8", "block4/add", "100.0 ms", "1.0 kB", "75 % of 4",
    )  # fmt: skip


def test_predicted_beside_measured() -> None:
    (row,) = trials_table([trial(predicted_s=0.1, measured_s=0.2)]).rows
    assert row == (
        "lte", "split3-int8", "100.0 ms", "200.0 ms", "200.0 ms to 200.0 ms", "-50.0 %", "1.0 kB",
    )  # fmt: skip


def test_answers_of_the_demo() -> None:
    whole = plan(stays=True)
    common = {"plan": whole, "thumbnail": b"", "expected": "cat"}
    answers = [
        PageAnswer(name="a.jpg", label="cat", predicted_s=0.1, answer=answer(), **common),
        PageAnswer(
            name="b.jpg",
            label="dog",
            predicted_s=None,
            link_cut=True,
            answer=answer("local", kind="local"),
            **common,
        ),
    ]
    first, second = demo_table(answers).rows
    assert first[:4] == ("lte, photo stays", "a.jpg", "cat", "split3-int8")
    assert first[4:] == ("100.0 ms", "100.0 ms", "1.0 kB", "fastest")
    assert second[:5] == ("lte, photo stays, link cut", "b.jpg", "dog", "local", "-")
    assert answers_summary(answers) == (
        "1 of 2 answers are those of the full network; with the link cut, 1 of 1 photos were "
        "answered by the device alone"
    )
