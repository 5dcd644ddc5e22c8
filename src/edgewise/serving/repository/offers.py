"""Which of several bundles answers a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from edgewise.bundle import Route
from edgewise.errors import BadInput
from edgewise.serving.protocol.heads import Heads
from edgewise.serving.protocol.refusals import refusal
from edgewise.serving.repository.canary import Canary
from edgewise.serving.repository.parts import ServedBundle
from edgewise.wire import DIGEST_FIELD, Header


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The bundles that one request may be answered with; its JSON says which of them.

    Args:
        default: answers what names no bundle.
        bundles: those that it may name by their digests, ``default`` among them.
        canary: sends a share of what names no bundle elsewhere.
        on_trial: where to.
        client: who asks, for the canary, when the request has no id.
        heads: what was found in the headers of requests for them.
    """

    default: ServedBundle
    bundles: tuple[ServedBundle, ...]
    canary: Canary | None = None
    on_trial: ServedBundle | None = None
    client: str = ""
    heads: Heads = field(default_factory=Heads, compare=False, repr=False)

    @property
    def max_body_bytes(self) -> int:
        """The longest frame that any of them takes."""
        return max(bundle.max_body_bytes for bundle in self.bundles)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route of any of them."""
        return tuple(part.route for bundle in self.bundles for part in bundle.routes)

    def named(self, digest: object) -> ServedBundle | None:
        """The bundle of that digest, if it is one of them."""
        return next((bundle for bundle in self.bundles if bundle.digest == digest), None)

    def choose(self, header: Header) -> ServedBundle:
        """The bundle that answers; the same one however often it is asked.

        Raises:
            HTTPException: 409 when the request is for another bundle.
        """
        asked = header.parameters.get("bundle")
        if asked is not None:
            return self.named(asked) or self._refuse(asked)
        if self.canary is None or self.on_trial is None:
            return self.default
        is_tried = self.canary.takes(header.id or self.client)
        return self.on_trial if is_tried else self.default

    def _refuse(self, asked: object) -> ServedBundle:
        digests = " or ".join(bundle.digest[:12] for bundle in self.bundles)
        raise refusal(
            409,
            expected=f"a request for the bundle {digests}, which this server serves",
            found=f"one for the bundle {str(asked)[:12]!r}",
            remedy="connect to the server of your bundle, or download this one",
            headers={DIGEST_FIELD: self.default.digest},
        )


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything that is served at one moment.

    Args:
        current: what the operator wants served; no two of one name and version.
        previous: what they replaced, the latest first; for devices that still have it.
        canaries: at most one for each name.

    Raises:
        BadInput: when a canary has no version to try, or none to compare it with.
    """

    current: tuple[ServedBundle, ...]
    previous: tuple[ServedBundle, ...] = ()
    canaries: tuple[Canary, ...] = ()

    def __post_init__(self) -> None:
        for canary in self.canaries:
            self._check_canary(canary)

    @property
    def bundles(self) -> tuple[ServedBundle, ...]:
        """Everything that answers somebody."""
        return (*self.current, *self.previous)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the models, in the operator's order."""
        return tuple(dict.fromkeys(bundle.name for bundle in self.current))

    def of(self, name: str) -> tuple[ServedBundle, ...]:
        """A model's bundles: the highest version first, then what they replaced."""
        current = [bundle for bundle in self.current if bundle.name == name]
        current.sort(key=lambda bundle: bundle.manifest.version, reverse=True)
        return (*current, *(bundle for bundle in self.previous if bundle.name == name))

    def versions(self, name: str) -> tuple[str, ...]:
        """A model's versions, the lowest first."""
        return tuple(sorted({bundle.version for bundle in self.of(name)}, key=int))

    def offer(self, name: str, version: str | None, *, client: str = "") -> Offer:
        """What may answer a request.

        Args:
            name: of the model.
            version: ``None`` leaves it open: the highest one answers that is not on trial.
            client: who asks.

        Raises:
            HTTPException: 404 when there is no such model or version.
        """
        offer = self._offers.get((name, version))
        if offer is None:
            raise self._no_version(name) if self.of(name) else self._no_model()
        return offer if offer.canary is None else replace(offer, client=client)

    @cached_property
    def _offers(self) -> Mapping[tuple[str, str | None], Offer]:
        """Every offer by name and version: they are asked for with each request."""
        names = dict.fromkeys(bundle.name for bundle in self.bundles)
        offers: dict[tuple[str, str | None], Offer] = {}
        for name in names:
            offers[name, None] = self._open_offer(name)
            for version in self.versions(name):
                alike = tuple(bundle for bundle in self.of(name) if bundle.version == version)
                offers[name, version] = Offer(default=alike[0], bundles=alike)
        return offers

    def _open_offer(self, name: str) -> Offer:
        bundles = self.of(name)
        canary = next((canary for canary in self.canaries if canary.name == name), None)
        on_trial = None if canary is None else _version(bundles, canary.version)
        default = next(bundle for bundle in bundles if bundle is not on_trial)
        return Offer(default=default, bundles=bundles, canary=canary, on_trial=on_trial)

    def _check_canary(self, canary: Canary) -> None:
        found = [bundle for bundle in self.current if bundle.name == canary.name]
        rivals = [other for other in self.canaries if other.name == canary.name]
        is_there = _version(found, canary.version) is not None
        if len(rivals) == 1 and is_there and len(found) > 1:
            return
        versions = ", ".join(sorted((bundle.version for bundle in found), key=int)) or "none"
        raise BadInput(
            expected=f"one share for version {canary.version} of the model {canary.name!r}, and"
            " another version to compare it with",
            found=f"{len(rivals)} shares" if len(rivals) > 1 else f"versions: {versions}",
            remedy="serve both bundles: edgewise serve NEW OLD --canary NAME:VERSION=5%",
        )

    def _no_model(self) -> Exception:
        names = self.names
        single = len(names) == 1
        known = ", ".join(map(repr, names))
        return refusal(
            404,
            expected=f"the model {known}, which this server serves"
            if single
            else f"one of the models {known}, which this server serves",
            found="another name",
            remedy=f"ask for /v2/models/{names[0]}" + ("" if single else ", or another of them"),
        )

    def _no_version(self, name: str) -> Exception:
        versions = " or ".join(self.versions(name))
        return refusal(
            404,
            expected=f"version {versions} of the model {name!r}",
            found="another version",
            remedy=f"ask for version {versions}, or for none",
        )


def _version(bundles: Iterable[ServedBundle], version: int) -> ServedBundle | None:
    return next((bundle for bundle in bundles if bundle.manifest.version == version), None)
