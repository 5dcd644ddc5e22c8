"""What the link is like now, learnt from the session's own requests; pure values, no clock.

A transfer of ``b`` bytes takes ``t = rtt + b / rate`` once the server's own time is taken off
(dividing bytes by the whole time would blame a short request's round trip on the rate). Both
numbers are fitted by weighted least squares with a pull towards what was expected, which also
decides when all transfers have one size. Two fits forget with half-lives of 3 and 8 seconds,
and the worse of the two counts: quick to believe in a worse link, slow to believe in a better
one (dash.js, ``ThroughputController``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from edgewise.running.deciding.fading import share_left

FAST_HALF_LIFE_S = 3.0
SLOW_HALF_LIFE_S = 8.0
_RTT_PULL = 1.0
_RATE_PULL = 0.02
_SURPRISE = 1.5
_FORGET = 0.25
_KNOWN = 0.25
_LEAST_RTT_S = 1e-4
_LEAST_S_PER_BYTE = 1e-10
_LEAST_DOWN_BYTES = 16_384
_ERROR_WEIGHT = 0.1
_LEAST_VARIANCE = 0.01
_FAR = 2.0


class Rates(Protocol):
    """What predictions need of a link: a catalogue's, or one as estimated."""

    @property
    def name(self) -> str:
        """In words a person reads."""

    @property
    def up_bytes_per_s(self) -> float:
        """Rate to the cloud."""

    @property
    def down_bytes_per_s(self) -> float:
        """Rate from the cloud."""

    @property
    def rtt_s(self) -> float:
        """Time of an empty round trip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """Least squares of ``t = rtt + bytes * s_per_byte`` that forgets.

    A transfer's bytes are its leverage on the rate, so large ones weigh more there.

    Args:
        half_life_s: age at which a sample counts half.
        now_s: when the sums below were last aged.
        weight: of all samples together.
        bytes1: weighted sum of the bytes; the others likewise.
    """

    half_life_s: float
    now_s: float = 0.0
    weight: float = 0.0
    bytes1: float = 0.0
    bytes2: float = 0.0
    times1: float = 0.0
    times_bytes: float = 0.0

    @property
    def mean_bytes(self) -> float:
        """Of the samples; 0 without any."""
        return self.bytes1 / self.weight if self.weight > 0 else 0.0

    def aged(self, now_s: float) -> Fit:
        """The same samples, older; a clock that jumps back ages nothing."""
        return self.faded(self.left(now_s), now_s=now_s)

    def faded(self, share: float, *, now_s: float) -> Fit:
        """The same samples, with that share of their weight."""
        return Fit(
            half_life_s=self.half_life_s,
            now_s=now_s,
            weight=self.weight * share,
            bytes1=self.bytes1 * share,
            bytes2=self.bytes2 * share,
            times1=self.times1 * share,
            times_bytes=self.times_bytes * share,
        )

    def with_sample(self, size_bytes: float, seconds: float) -> Fit:
        """One transfer more."""
        return replace(
            self,
            weight=self.weight + 1,
            bytes1=self.bytes1 + size_bytes,
            bytes2=self.bytes2 + size_bytes * size_bytes,
            times1=self.times1 + seconds,
            times_bytes=self.times_bytes + seconds * size_bytes,
        )

    def solve(
        self, prior_rtt_s: float, prior_s_per_byte: float, *, now_s: float
    ) -> tuple[float, float]:
        """Round trip and seconds per byte by then, pulled towards the expected ones.

        Minimises the squared residuals plus the squared relative distances from the prior, in
        units of the time that the prior gives a transfer of the mean size. The round trip is
        pulled 50 times as hard: what takes longer than expected is the rate's fault first,
        because rates vary tenfold from place to place and round trips little.
        """
        share = self.left(now_s)
        weight, bytes1 = self.weight * share, self.bytes1 * share
        if weight < 1e-9:
            return prior_rtt_s, prior_s_per_byte
        unit_s = prior_rtt_s + bytes1 / weight * prior_s_per_byte
        pull_rtt = _RTT_PULL * (unit_s / prior_rtt_s) ** 2
        pull_rate = _RATE_PULL * (unit_s / prior_s_per_byte) ** 2
        a11, a12, a22 = weight + pull_rtt, bytes1, self.bytes2 * share + pull_rate
        b1 = self.times1 * share + pull_rtt * prior_rtt_s
        b2 = self.times_bytes * share + pull_rate * prior_s_per_byte
        determinant = a11 * a22 - a12 * a12
        rtt_s = (b1 * a22 - b2 * a12) / determinant if determinant > 0 else prior_rtt_s
        s_per_byte = (b2 * a11 - b1 * a12) / determinant if determinant > 0 else 0.0
        if rtt_s < _LEAST_RTT_S:
            return _LEAST_RTT_S, max(_LEAST_S_PER_BYTE, (b2 - a12 * _LEAST_RTT_S) / a22)
        if s_per_byte < _LEAST_S_PER_BYTE:
            return max(_LEAST_RTT_S, (b1 - a12 * _LEAST_S_PER_BYTE) / a11), _LEAST_S_PER_BYTE
        return rtt_s, s_per_byte

    def left(self, now_s: float) -> float:
        """The share of the weight that is left by then."""
        return share_left(now_s - self.now_s, self.half_life_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEstimate:
    """Rates and round trip as they are thought to be.

    Args:
        name: what it is, in words a person reads.
        up_bytes_per_s: rate to the cloud.
        down_bytes_per_s: rate from the cloud.
        rtt_s: time of an empty round trip.
        samples: the session's own requests that it was estimated from.
        known: whether anything was measured lately; otherwise it is what was expected.
    """

    name: str
    up_bytes_per_s: float
    down_bytes_per_s: float
    rtt_s: float
    samples: int = 0
    known: bool = False


TYPICAL = LinkEstimate(
    name="a typical mobile link", up_bytes_per_s=1e6, down_bytes_per_s=4e6, rtt_s=0.05
)
"""A stand-in while nothing is known; the first requests replace it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """What one request says about the link.

    Args:
        now_s: when the reply was there, or was given up.
        up_bytes: sent.
        up_s: until the reply began, without the server's own time.
        down_bytes: received.
        down_s: from the reply's first byte to its last.
        at_least: nothing came back: ``up_s`` is how long was waited, and counts only when that
            is longer than expected.
    """

    now_s: float
    up_bytes: float
    up_s: float
    down_bytes: float = 0.0
    down_s: float = 0.0
    at_least: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """How far transfers were off what was expected of them, as logarithms of the ratio.

    A running mean and variance that give the newest 10 %, or its even share of the first ten.
    Before any, a transfer may well take twice as long as expected, or half.

    >>> errors = Errors()
    >>> round(errors.chance(1.0), 2), round(errors.chance(2.0), 2), round(errors.chance(0.5), 2)
    (0.5, 0.84, 0.16)
    """

    mean: float = 0.0
    variance: float = 0.5
    samples: int = 0

    def observed(self, ratio: float) -> Errors:
        """With one more: what it took over what was expected."""
        off = max(-_FAR, min(_FAR, math.log(ratio))) - self.mean
        share = max(_ERROR_WEIGHT, 1 / (self.samples + 2))
        return Errors(
            mean=self.mean + share * off,
            variance=(1 - share) * (self.variance + share * off * off),
            samples=self.samples + 1,
        )

    def chance(self, room: float) -> float:
        """That a transfer takes at most ``room`` times what is expected of it.

        The normal distribution by a logistic curve, which a factor of 1.702 keeps within 0.01.
        """
        if room <= 0:
            return 0.0
        deviation = math.sqrt(max(_LEAST_VARIANCE, self.variance))
        return 1 / (1 + math.exp(-1.702 * (math.log(room) - self.mean) / deviation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """What is known of the link; :meth:`observed` gives the next value.

    Args:
        prior: what the link is expected to be like.
        fast: the fit that forgets soon.
        slow: the fit that forgets late.
        down_fast: likewise for the reply's bytes.
        down_slow: likewise for the reply's bytes.
        errors: of what was expected of transfers.
        samples: requests that it was estimated from.

    >>> link = Estimator(prior=TYPICAL)
    >>> for i in range(40):
    ...     link = link.observed(Transfer(now_s=i / 4, up_bytes=50_000, up_s=0.55))
    >>> 0.5 < link.estimate(10.0).rtt_s + 50_000 / link.estimate(10.0).up_bytes_per_s < 0.6
    True
    """

    prior: Rates
    fast: Fit = Fit(half_life_s=FAST_HALF_LIFE_S)
    slow: Fit = Fit(half_life_s=SLOW_HALF_LIFE_S)
    down_fast: Fit = Fit(half_life_s=FAST_HALF_LIFE_S)
    down_slow: Fit = Fit(half_life_s=SLOW_HALF_LIFE_S)
    errors: Errors = Errors()
    samples: int = 0

    def observed(self, transfer: Transfer) -> Estimator:
        """The estimator after one more request."""
        before = self.estimate(transfer.now_s)
        expected_s = before.rtt_s + transfer.up_bytes / before.up_bytes_per_s
        aged = self._aged(transfer.now_s)
        if transfer.at_least and transfer.up_s <= expected_s:
            return aged
        # Much slower than thought: the past is no guide any more, and each such request
        # counts as two half-lives gone by.
        share = _FORGET if transfer.up_s > _SURPRISE * expected_s else 1.0
        sample = (transfer.up_bytes, max(_LEAST_RTT_S, transfer.up_s))
        grown = replace(
            aged,
            fast=aged.fast.faded(share, now_s=transfer.now_s).with_sample(*sample),
            slow=aged.slow.with_sample(*sample),
            errors=self.errors.observed(sample[1] / expected_s),
            samples=self.samples + 1,
        )
        return grown._with_download(transfer)

    def estimate(self, now_s: float) -> LinkEstimate:
        """What the worse of the two fits says; old news fade to the prior."""
        rtt_s = max(_LEAST_RTT_S, self.prior.rtt_s)
        up = max(_LEAST_S_PER_BYTE, 1 / self.prior.up_bytes_per_s)
        down = max(_LEAST_S_PER_BYTE, 1 / self.prior.down_bytes_per_s)
        fits = [fit.solve(rtt_s, up, now_s=now_s) for fit in (self.fast, self.slow)]
        # Worse for transfers as they were lately; both numbers are then of that fit.
        size_bytes = self.slow.mean_bytes
        up_rtt_s, up_s_per_byte = max(fits, key=lambda fit: fit[0] + size_bytes * fit[1])
        downs = [
            fit.solve(_LEAST_RTT_S, down, now_s=now_s) for fit in (self.down_fast, self.down_slow)
        ]
        known = self.slow.weight * self.slow.left(now_s) >= _KNOWN
        return LinkEstimate(
            name="the link as measured" if known else self.prior.name,
            up_bytes_per_s=1 / up_s_per_byte,
            down_bytes_per_s=1 / max(s_per_byte for _, s_per_byte in downs),
            rtt_s=up_rtt_s,
            samples=self.samples,
            known=known,
        )

    def _with_download(self, transfer: Transfer) -> Estimator:
        # What fits into the first packets was there before reading began.
        if transfer.down_bytes < _LEAST_DOWN_BYTES or transfer.down_s <= 0:
            return self
        sample = (transfer.down_bytes, transfer.down_s)
        return replace(
            self,
            down_fast=self.down_fast.with_sample(*sample),
            down_slow=self.down_slow.with_sample(*sample),
        )

    def _aged(self, now_s: float) -> Estimator:
        return replace(
            self,
            fast=self.fast.aged(now_s),
            slow=self.slow.aged(now_s),
            down_fast=self.down_fast.aged(now_s),
            down_slow=self.down_slow.aged(now_s),
        )
