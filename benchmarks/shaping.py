"""Is the shaped link the link it says it is?

Run: python benchmarks/shaping.py [--json FILE] [--md FILE] [--seconds 4] [--realtime]
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import json
import math
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edgewise.shaping import RateTrace, read_rate_trace, shaped, shipped_traces, stall_s
from edgewise.specs import LinkSpec, Provenance
from edgewise.units import parse_duration, parse_rate
from support.shaping_far_end import Address, dialled, download, far_end, first_ping, upload

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "link-traces"
RECORDED_NAMES = ("3g-bus-1", "3g-tram-11", "internet-1", "oboe-4")
LINKS = {
    "3G": ("1.1Mbit/s", "2.03Mbit/s", "100ms"),
    "LTE": ("5.85Mbit/s", "13.76Mbit/s", "50ms"),
    "Wi-Fi": ("18.88Mbit/s", "54.97Mbit/s", "5ms"),
    "fast": ("200Mbit/s", "200Mbit/s", "1ms"),
}
RATE_GOAL = 0.03
RTT_GOAL_S = 0.002
REPEATS = 3
TRACE_S = 60.0
WINDOW_S = 5.0
OWN = Provenance(source="user-supplied", date="2026-11-21")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim, its goal and its figure."""

    link: str
    what: str
    expected: str
    measured: str
    error: str
    goal: str
    met: bool


def make_link(name: str, *, loss: float = 0.0) -> LinkSpec:
    up, down, rtt = LINKS[name]
    return LinkSpec(
        name=name,
        up_bytes_per_s=parse_rate(up),
        down_bytes_per_s=parse_rate(down),
        rtt_s=parse_duration(rtt),
        loss=loss,
        provenance=OWN,
    )


# --- claims ------------------------------------------------------------------------------------


def pings(target: Address, link: LinkSpec, count: int) -> tuple[list[float], float]:
    """Round trips on one connection, and the median of connecting and asking once."""
    with shaped(target, link) as running:
        address = (running.host, running.port)
        firsts = [first_ping(address) for _ in range(10)]
        with dialled(address) as sock:
            download(sock, 1)
            return [download(sock, 1) for _ in range(count)], statistics.median(firsts)


def rtt_rows(target: Address) -> list[Row]:
    unlimited = LinkSpec(name="unshaped", provenance=OWN)
    rows = []
    for name in LINKS:
        link = make_link(name)
        base, base_first_s = pings(target, unlimited, 200)
        times, first_s = pings(target, link, 60)
        wire_s = link.transfer_s(up_bytes=9, down_bytes=1)
        error_s = statistics.median(times) - statistics.median(base) - wire_s
        p95_s = statistics.quantiles(times, n=20)[-1] - statistics.median(base) - wire_s
        rows.append(_time_row(name, "round trip, median", wire_s, error_s))
        rows.append(_time_row(name, "round trip, 95th percentile", wire_s, p95_s, gated=False))
        open_s = wire_s + link.rtt_s
        rows.append(
            _time_row(name, "connect and ask, median", open_s, first_s - base_first_s - open_s)
        )
    return rows


def _time_row(name: str, what: str, wire_s: float, error_s: float, gated: bool = True) -> Row:
    return Row(
        link=name,
        what=what,
        expected=f"{wire_s * 1e3:.2f} ms",
        measured=f"{(wire_s + error_s) * 1e3:.2f} ms",
        error=f"{error_s * 1e3:+.2f} ms",
        goal=f"within {RTT_GOAL_S * 1e3:.0f} ms" if gated else "shown",
        met=not gated or abs(error_s) <= RTT_GOAL_S,
    )


def rate_rows(target: Address, seconds: float) -> list[Row]:
    rows = []
    for name in LINKS:
        link = make_link(name)
        with shaped(target, link) as running, dialled((running.host, running.port)) as sock:
            download(sock, 1)
            for what, rate, move in (
                ("rate up", link.up_bytes_per_s, upload),
                ("rate down", link.down_bytes_per_s, download),
            ):
                size = int(rate * seconds)
                rates = [size / (move(sock, size) - link.rtt_s) for _ in range(REPEATS)]
                rows.append(_rate_row(name, f"{what}, worst of {REPEATS}", rate, rates))
    rows.append(shared_row(target, seconds))
    return rows


def _rate_row(name: str, what: str, rate: float, rates: list[float]) -> Row:
    worst = max(rates, key=lambda measured: abs(measured - rate))
    return share_row(name, what, (rate * 8e-6, worst * 8e-6), "Mbit/s")


def share_row(link: str, what: str, pair: tuple[float, float], unit: str) -> Row:
    """Expected beside measured, with the relative goal that all rates share."""
    expected, measured = pair
    error = measured / expected - 1
    return Row(
        link=link,
        what=what,
        expected=f"{expected:.3f} {unit}",
        measured=f"{measured:.3f} {unit}",
        error=f"{error:+.2%}",
        goal=f"within {RATE_GOAL:.0%}",
        met=abs(error) <= RATE_GOAL,
    )


def shared_row(target: Address, seconds: float) -> Row:
    """Four connections upload at once over one link."""
    link = make_link("LTE")
    size = int(link.up_bytes_per_s * seconds / 4)
    with shaped(target, link) as running, contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dialled((running.host, running.port))) for _ in range(4)]
        for sock in socks:
            download(sock, 1)
        start_s = time.perf_counter()
        at_once([lambda sock=sock: upload(sock, size) for sock in socks])
        elapsed_s = time.perf_counter() - start_s - link.rtt_s
    rate = link.up_bytes_per_s
    return _rate_row("LTE", "rate up, four connections together", rate, [4 * size / elapsed_s])


def at_once(jobs: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def jitter_rows(target: Address) -> list[Row]:
    """A sum of two even draws of ± j has mean 0 and standard deviation j sqrt(2/3)."""
    jitter_s, rtt_s = 0.004, 0.02
    link = LinkSpec(name="jitter", rtt_s=rtt_s, jitter_s=jitter_s, provenance=OWN)
    base, _ = pings(target, LinkSpec(name="unshaped", provenance=OWN), 200)
    times, _ = pings(target, link, 500)
    mean_error_s = statistics.fmean(times) - statistics.median(base) - rtt_s
    expected_s = jitter_s * math.sqrt(2 / 3)
    spread_s = statistics.stdev(times)
    return [
        _time_row("20 ms ± 4 ms each way", "round trip, mean of 500", rtt_s, mean_error_s),
        Row(
            link="20 ms ± 4 ms each way",
            what="round trip, standard deviation",
            expected=f"{expected_s * 1e3:.2f} ms",
            measured=f"{spread_s * 1e3:.2f} ms",
            error=f"{spread_s / expected_s - 1:+.1%}",
            goal="within 15%",
            met=abs(spread_s / expected_s - 1) <= 0.15,
        ),
    ]


def loss_rows(target: Address) -> list[Row]:
    loss, packets = 0.01, 4000
    link = make_link("Wi-Fi", loss=loss)
    size = packets * 1500
    with shaped(target, link, seed=1) as running, dialled((running.host, running.port)) as sock:
        elapsed_s = upload(sock, size)
        stalls = running.stats().stalls
    expected_s = link.transfer_s(up_bytes=size) + stalls * stall_s(link)
    sigma = math.sqrt(loss * (1 - loss) / packets)
    return [
        Row(
            link="Wi-Fi, loss 1%",
            what=f"packets lost of {packets}",
            expected=f"{loss:.2%}",
            measured=f"{stalls / packets:.2%}",
            error=f"{(stalls / packets - loss) / sigma:+.1f} sigma",
            goal="within 3 sigma",
            met=abs(stalls / packets - loss) <= 3 * sigma,
        ),
        share_row(
            "Wi-Fi, loss 1%",
            f"time of an upload with {stalls} stalls",
            (expected_s, elapsed_s),
            "s",
        ),
    ]


def outage_rows(target: Address) -> list[Row]:
    link, dark_s = make_link("LTE"), 1.5
    size = int(link.down_bytes_per_s * 2)
    with shaped(target, link) as running, dialled((running.host, running.port)) as sock:
        download(sock, 1)
        times: list[float] = []
        thread = threading.Thread(target=lambda: times.append(download(sock, size)))
        thread.start()
        time.sleep(0.5)
        running.set_outage(True)
        start_s, before = time.perf_counter(), running.stats().down_bytes
        time.sleep(dark_s)
        moved = running.stats().down_bytes - before
        running.set_outage(False)
        real_dark_s = time.perf_counter() - start_s
        thread.join()
    expected_s = link.transfer_s(up_bytes=9, down_bytes=size) + real_dark_s
    return [
        Row(
            link="LTE, outage",
            what=f"bytes that cross in {dark_s} s of outage",
            expected="0",
            measured=str(moved),
            error=str(moved),
            goal="0",
            met=moved == 0,
        ),
        share_row("LTE, outage", "time of the download around it", (expected_s, times[0]), "s"),
    ]


# --- recorded traces ---------------------------------------------------------------------------


def trace_rows(target: Address) -> list[Row]:
    """All traces run at the same time, each over a link of its own."""
    files = {f"{name} (ours)": path for name, path in shipped_traces().items()}
    if RECORDED.is_dir():
        files |= {f"{name} (recorded)": RECORDED / f"{name}.txt" for name in RECORDED_NAMES}
    found: dict[str, list[Row]] = {}

    def follow(name: str, path: Path) -> None:
        found[name] = _follow(target, name, path)

    at_once([lambda item=item: follow(*item) for item in files.items()])
    return [row for name in files for row in found[name]]


def _follow(target: Address, name: str, path: Path) -> list[Row]:
    rtt_s, trace = 0.02, read_rate_trace(path)
    link = LinkSpec(name=name, rtt_s=rtt_s, provenance=OWN)
    arrivals: list[tuple[float, int]] = []
    with shaped(target, link) as running, dialled((running.host, running.port)) as sock:
        download(sock, 1)
        running.set_link(link, trace=path)
        start_s = time.perf_counter()
        sock.sendall(b"D" + (1 << 40).to_bytes(8, "big"))
        sock.settimeout(0.5)
        while (now_s := time.perf_counter() - start_s) < TRACE_S + 0.2:
            with contextlib.suppress(TimeoutError):
                size = len(sock.recv(1 << 16))
                arrivals.append((time.perf_counter() - start_s, size))
    assert now_s > TRACE_S
    return _trace_rows(name, trace, arrivals, delay_s=rtt_s / 2)


def _trace_rows(
    name: str, trace: RateTrace, arrivals: list[tuple[float, int]], *, delay_s: float
) -> list[Row]:
    def got(begin_s: float, end_s: float) -> int:
        return sum(size for time_s, size in arrivals if begin_s <= time_s < end_s)

    def due(begin_s: float, end_s: float) -> float:
        return trace.bytes_by(end_s - delay_s) - trace.bytes_by(begin_s - delay_s)

    begins = [1.0 + i * WINDOW_S for i in range(int((TRACE_S - 1) / WINDOW_S))]
    end_s = begins[-1] + WINDOW_S
    total, measured = due(1.0, end_s), got(1.0, end_s)
    gaps = [abs(got(b, b + WINDOW_S) - due(b, b + WINDOW_S)) for b in begins]
    usual = total / len(begins)
    return [
        share_row(name, f"bytes in {end_s - 1:.0f} s", (total / 1e3, measured / 1e3), "kB"),
        Row(
            link=name,
            what=f"largest gap in one of {len(begins)} windows of {WINDOW_S:.0f} s",
            expected="0 kB",
            measured=f"{max(gaps) / 1e3:.1f} kB",
            error=f"{max(gaps) / usual:.2%} of a mean window",
            goal=f"within {RATE_GOAL:.0%}",
            met=max(gaps) <= RATE_GOAL * usual,
        ),
    ]


# --- report ------------------------------------------------------------------------------------


def conditions() -> dict[str, str]:
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ", 1)[1] for line in lines if "model name" in line), cpu)
    cores, load = os.cpu_count() or 1, os.getloadavg()[0]
    realtime = os.sched_getscheduler(0) == os.SCHED_RR
    return {
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "cpu": cpu,
        "cores": str(cores),
        "load": f"{load:.1f}" + (" (busy with other work)" if load > cores / 2 else ""),
        "python": platform.python_version(),
        "scheduling": "real-time (--realtime)" if realtime else "ordinary",
    }


def table(rows: list[Row]) -> str:
    lines = ["| link | quantity | expected | measured | error | goal | |", "|---" * 7 + "|"]
    lines += [
        f"| {r.link} | {r.what} | {r.expected} | {r.measured} | {r.error} | {r.goal} "
        f"| {'met' if r.met else 'MISSED'} |"
        for r in rows
    ]
    return "\n".join(lines)


def markdown(rows: list[Row], where: dict[str, str]) -> str:
    gates = [row for row in rows if row.goal != "shown"]
    return f"""# Accuracy of the shaped link

Written by `benchmarks/shaping.py`: {", ".join(f"{k} {v}" for k, v in where.items())}.

Real processes and real sockets on the loopback interface: this one, the link's, the server's.
Round trips are over and above those of an unshaped proxy in the same run; their expected value
counts the ping's ten bytes at the link's rate. A rate is bytes by the time from the first byte
sent to the answer, less one RTT. "Connect and ask" is two round trips. A trace's bytes are those
that arrive in a window, against the integral of the rate over the same window half an RTT
earlier; all traces run at the same time. With
`--realtime` the three processes run before all others (SCHED_RR): on a busy machine, that tells
the link's own error from the milliseconds for which any program waits for a processor.

{sum(row.met for row in gates)} of {len(gates)} goals met.

{table(rows)}
"""


def write_whole(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--md", type=Path)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each transfer")
    parser.add_argument("--realtime", action="store_true", help="do not wait for other programs")
    options = parser.parse_args()
    if options.realtime:  # inherited by the link and the far end
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with far_end() as target:
        where = conditions()
        rows = rtt_rows(target) + rate_rows(target, options.seconds)
        rows += jitter_rows(target) + loss_rows(target) + outage_rows(target) + trace_rows(target)
    text = markdown(rows, where)
    print(text)
    if options.json:
        record = {"conditions": where, "rows": [dataclasses.asdict(row) for row in rows]}
        write_whole(options.json, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if options.md:
        write_whole(options.md, text)
    sys.exit(0 if all(row.met for row in rows) else 1)


if __name__ == "__main__":
    main()
