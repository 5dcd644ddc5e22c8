"""What a session says of itself when ``edgewise run`` ends, in words and as JSON."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from edgewise.cli.console import printable
from edgewise.records import write_record

if TYPE_CHECKING:
    from edgewise.bundle import Bundle
    from edgewise.running import Session, ShadowReport, Status

_SHADOW_S = 5.0  # for a comparison under way: longer than most, and no test of patience


def read_reports(
    args: argparse.Namespace, session: Session
) -> Mapping[str, Status | ShadowReport]:
    """What there is to report by the options: of the cloud with a server, of shadow mode."""
    reports: dict[str, Status | ShadowReport] = {}
    if args.server is not None:
        reports["status"] = session.status()
    if args.shadow is not None:
        reports["shadow"] = session.shadow_report(timeout_s=_SHADOW_S)
    return reports


def report_lines(reports: Mapping[str, Status | ShadowReport]) -> Iterator[str]:
    """Each report on one line."""
    for name, report in reports.items():
        yield printable(f"{name}: {report.words}")


def reports_json(
    bundle: Bundle, session: Session, reports: Mapping[str, Status | ShadowReport]
) -> dict[str, Any]:
    """What every JSON of ``edgewise run`` has beside its results."""
    told = {name: write_record(report) for name, report in reports.items()}
    return {"bundle": bundle.digest, "distrusted": dict(session.distrusted), **told}
