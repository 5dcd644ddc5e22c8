"""The bundles of a server: opened, loaded, and exchanged while it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgewise.bundle import Bundle, Side, check_supported, open_bundle
from edgewise.errors import BadInput
from edgewise.serving.repository.canary import Canary
from edgewise.serving.repository.offers import Snapshot
from edgewise.serving.repository.parts import ServedBundle
from edgewise.serving.repository.shelf import Shelf

Load = Callable[[Bundle], ServedBundle]


def open_bundles(paths: Iterable[Path | str]) -> tuple[Bundle, ...]:
    """Open what is to be served side by side; nothing is loaded yet.

    Raises:
        BadInput: when there is none, one of them cannot be served, or two are alike.
    """
    bundles = tuple(open_bundle(path) for path in paths)
    for bundle in bundles:
        check_supported(bundle.manifest, on=Side.SERVER)
    check_distinct(bundles)
    return bundles


def check_distinct(bundles: Sequence[Bundle]) -> None:
    """Refuse no bundle at all, and two of one name and version.

    Raises:
        BadInput: naming the two.
    """
    if not bundles:
        raise BadInput(
            expected="at least one bundle to serve",
            found="none",
            remedy="make one with: edgewise plan MODEL -o BUNDLE",
        )
    seen: dict[tuple[str, int], Bundle] = {}
    for bundle in bundles:
        name, version = bundle.manifest.name, bundle.manifest.version
        other = seen.get((name, version))
        if other is not None:
            raise BadInput(
                expected="bundles that differ in name or version",
                found=f"version {version} of {name[:80]!r} in {other.path} and {bundle.path}",
                remedy="serve one of them, or plan one anew with: edgewise plan --version N",
            )
        seen[name, version] = bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What reading the bundles again has changed.

    Args:
        loaded: new since the last time.
        kept: what they replaced and devices may still ask for.
    """

    loaded: tuple[ServedBundle, ...]
    kept: tuple[ServedBundle, ...]


class Repository:
    """What is served, as a snapshot that is exchanged as a whole.

    Whoever answers a request takes one snapshot and keeps to it, so that a request that is under
    way ends with the bundle that it began with.

    Args:
        bundles: read again from their paths by :meth:`reload`.
        load: makes a bundle ready.
        canaries: versions on trial.
        keep_previous: how many of the bundles that were replaced are kept of each name.

    Raises:
        BadInput: when two bundles are alike, or one cannot be served.
    """

    def __init__(
        self,
        bundles: Sequence[Bundle],
        *,
        load: Load,
        canaries: tuple[Canary, ...] = (),
        keep_previous: int = 1,
    ) -> None:
        check_distinct(bundles)
        if keep_previous < 0:
            raise BadInput(
                expected="a number of replaced bundles to keep, 0 or more",
                found=str(keep_previous),
                remedy="choose with --keep-previous; each takes the memory of a bundle",
            )
        self._paths = tuple(bundle.path for bundle in bundles)
        self._load = load
        self._keep_previous = keep_previous
        self.snapshot = Snapshot(current=tuple(map(load, bundles)), canaries=canaries)

    def reload(self) -> Exchange:
        """Load what has changed on the disk beside what is served, then exchange it.

        For one thread at a time; others may go on taking snapshots.

        Raises:
            BadInput: when something there cannot be served; then nothing has changed.
        """
        before = self.snapshot
        known = {bundle.digest: bundle for bundle in (*before.previous, *before.current)}
        current = tuple(
            _moved(known[bundle.digest], bundle) if bundle.digest in known else self._load(bundle)
            for bundle in open_bundles(self._paths)
        )
        kept = self._kept(before, current)
        # One assignment: nobody sees half of it.
        self.snapshot = Snapshot(current=current, previous=kept, canaries=before.canaries)
        former = {bundle.digest for bundle in before.current}
        return Exchange(loaded=tuple(b for b in current if b.digest not in former), kept=kept)

    def _kept(
        self, before: Snapshot, current: tuple[ServedBundle, ...]
    ) -> tuple[ServedBundle, ...]:
        present = {bundle.digest for bundle in current}
        kept: list[ServedBundle] = []
        for bundle in (*before.current, *before.previous):
            of_name = sum(other.name == bundle.name for other in kept)
            if bundle.digest not in present and of_name < self._keep_previous:
                kept.append(bundle)
        return tuple(kept)


def _moved(served: ServedBundle, bundle: Bundle) -> ServedBundle:
    """What is loaded already, with its files to download where they are now."""
    if served.shelf.path == bundle.path:
        return served
    return replace(served, shelf=Shelf(bundle))
