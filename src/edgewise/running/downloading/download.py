"""Download the device's side of a bundle: resumed, verified, proven here, swapped in whole."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewise.bundle import (
    Bundle,
    ListedFile,
    Manifest,
    Side,
    check_supported,
    install,
    open_bundle,
    probed_parts,
    read_manifest,
)
from edgewise.errors import BadInput, LinkFailed
from edgewise.progress import Progress
from edgewise.running.downloading.origin import Changed, Origin
from edgewise.running.downloading.staging import Staging, check_free, staging
from edgewise.running.linking.backoff import Backoff, Patience
from edgewise.running.trusting import distrust_words, open_trusted

_PATIENCE = Patience(first_s=0.25, longest_s=8.0, timeout_s=20.0)
_FRUITLESS_TRIES = 6
_RENEWALS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """One file of a download.

    Args:
        path: in the bundle.
        bytes: its size.
        sent_bytes: what of it was sent this time.
    """

    path: str
    bytes: int
    sent_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """A bundle that was downloaded, or was there already.

    Args:
        bundle: in its place, with the files of the device's side.
        files: of the bundle.
        previous: where the former bundle is kept, if there was another one.
    """

    bundle: Bundle
    files: tuple[Fetched, ...]
    previous: Path | None = None

    @property
    def sent_bytes(self) -> int:
        """What was sent, without the manifest."""
        return sum(file.sent_bytes for file in self.files)


def download_bundle(  # noqa: PLR0913 - each the choice of whoever runs the device
    url: str,
    folder: Path | str,
    *,
    model: str | None = None,
    api_key: str | None = None,
    ca_path: Path | str | None = None,
    digest: str | None = None,
    allow_older: bool = False,
    progress: Progress | None = None,
    patience: Patience = _PATIENCE,
) -> Download:
    """Download the device's side of a bundle that a server serves.

    Nothing changes in the folder before every file is there, has the SHA-256 that the manifest
    lists, and gives the stored answer on this machine; then the new bundle takes the place of
    the former one, which is kept beside it. What breaks off goes on where it was, in this
    process or a later one. Files that the former bundle has are not sent again.

    Args:
        url: where ``edgewise serve`` listens.
        folder: where the bundle goes; replaced when it holds one.
        model: the bundle's name; may be left out when the server has one.
        api_key: shown to the server, when it asks for keys.
        ca_path: PEM; trust these certificates instead of those that the system trusts.
        digest: of the bundle that is wanted; another one is refused.
        allow_older: let a lower version replace a higher one.
        progress: told of bytes.
        patience: pauses between attempts, and how long to wait for the next byte; six attempts
            in a row without one byte are the last.

    Raises:
        LinkFailed: when the server cannot be reached, or no more; what came is kept.
        BadInput: when the server offers something else than it says, the folder cannot be
            written, or the bundle cannot be used here; the former bundle stays.
        MissingExtra: when the bundle needs an optional part that is not installed.

    Example::

        download = download_bundle("https://models.example:8000", "bundle")
        with connect(download.bundle, "https://models.example:8000") as session: ...
    """
    origin = Origin(url, api_key=api_key, ca_path=ca_path, stall_s=patience.timeout_s)
    with contextlib.closing(origin), staging(folder) as staged:
        name = model if model is not None else origin.only_model()
        why = ""
        for _ in range(_RENEWALS):
            offer = _read_offer(origin, name, digest)
            job = _Job(origin, staged, offer, patience=patience, progress=progress)
            try:
                return job.run(Path(folder), allow_older=allow_older)
            except Changed as change:
                why = change.reason
    raise LinkFailed(f"the server does not have the files that its manifest lists: {why}")


def roll_back(folder: Path | str) -> Bundle:
    """Change places with the former bundle, which the last download kept.

    Args:
        folder: where the bundle is.

    Raises:
        BadInput: when there is no former bundle that can be opened.
    """
    with staging(folder) as staged:
        if _open_former(staged.previous) is None:
            raise BadInput(
                expected=f"the former bundle in {staged.previous}",
                found="none that can be opened",
                remedy="download one with: edgewise fetch URL -o BUNDLE",
            )
        install(staged.previous, staged.target, previous=staged.previous)
    return open_bundle(folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """What a server has: a manifest that is sound, and its bytes."""

    raw: bytes
    manifest: Manifest
    digest: str


def _read_manifest(raw: bytes, origin: Origin) -> Manifest:
    try:
        return read_manifest(raw, where=f"the manifest from {origin.url}")
    except BadInput as error:
        raise BadInput(
            expected=error.expected,
            found=error.found,
            remedy="check that an edgewise of this version answers there",
        ) from None


def _read_offer(origin: Origin, name: str, digest: str | None) -> _Offer:
    raw = origin.manifest(name)
    found = hashlib.sha256(raw).hexdigest()
    if digest not in (None, found):
        raise BadInput(
            expected=f"the bundle {digest} at {origin.url}",
            found=f"the bundle {found}",
            remedy="ask its operator which one is right",
        )
    manifest = _read_manifest(raw, origin)
    if manifest.name != name:
        raise BadInput(
            expected=f"the manifest of {name!r} from {origin.url}",
            found=f"that of {manifest.name[:80]!r}",
            remedy="tell the server's operator",
        )
    check_supported(manifest)
    return _Offer(raw=raw, manifest=manifest, digest=found)


class _Job:
    """One bundle on its way into one folder."""

    def __init__(
        self,
        origin: Origin,
        staged: Staging,
        offer: _Offer,
        *,
        patience: Patience,
        progress: Progress | None,
    ) -> None:
        self._origin = origin
        self._staged = staged
        self._offer = offer
        self._manifest = offer.manifest
        self._files = offer.manifest.device_files
        self._total_bytes = sum(file.bytes for file in self._files)
        self._patience = patience
        self._progress = progress
        self._sent = dict.fromkeys([file.path for file in self._files], 0)

    def run(self, folder: Path, *, allow_older: bool) -> Download:
        former = _open_former(self._staged.target)
        if former is not None and self._is_there(former):
            self._staged.discard()
            return self._result(folder, previous=None)
        if former is not None and not allow_older:
            self._check_direction(former)
        self._staged.keep_only(self._files)
        check_free(self._staged.path, self._total_bytes - self._staged.held_bytes(self._files))
        for place, file in enumerate(self._files):
            done = sum(file.bytes for file in self._files[:place])
            self._fetch(file, former, done)
        self._tell(self._total_bytes)
        self._staged.add_manifest(self._offer.raw)
        self._prove()
        self._staged.install(keep_former=former is not None)
        return self._result(folder, previous=self._staged.previous if former else None)

    def _result(self, folder: Path, *, previous: Path | None) -> Download:
        files = tuple(
            Fetched(path=file.path, bytes=file.bytes, sent_bytes=self._sent[file.path])
            for file in self._files
        )
        return Download(bundle=open_bundle(folder), files=files, previous=previous)

    def _is_there(self, former: Bundle) -> bool:
        try:
            return former.digest == self._offer.digest and all(map(former.read_file, self._files))
        except BadInput:
            return False

    def _check_direction(self, former: Bundle) -> None:
        ours, theirs = former.manifest, self._manifest
        if ours.name == theirs.name and ours.version > theirs.version:
            raise BadInput(
                expected=f"version {ours.version} of {ours.name!r}, which {former.path} holds, "
                "or a later one",
                found=f"version {theirs.version}",
                remedy="pass --allow-older to go back",
            )

    def _fetch(self, file: ListedFile, former: Bundle | None, done: int) -> None:
        staged = self._staged
        if staged.has(file) or (former is not None and staged.take(file, former)):
            return
        was_resumed = staged.part_bytes(file) > 0
        self._receive_patiently(file, done)
        if staged.finish(file):
            return
        if was_resumed:  # perhaps what an earlier process left was at fault
            self._receive_patiently(file, done)
            if staged.finish(file):
                return
        raise BadInput(
            expected=f"{file.path} with the SHA-256 that the manifest lists, {file.sha256}",
            found="other bytes",
            remedy="run it again; if it stays so, tell the server's operator",
        )

    def _receive_patiently(self, file: ListedFile, done: int) -> None:
        backoff = Backoff(self._patience, chance=random.random)
        fruitless = 0
        while True:
            before = self._sent[file.path]
            try:
                return self._receive(file, done)
            except Changed:
                raise
            except LinkFailed as error:
                if self._sent[file.path] > before:
                    backoff.succeeded()
                    fruitless = 0
                fruitless += 1
                if fruitless >= _FRUITLESS_TRIES:
                    raise self._given_up(error) from None
                time.sleep(backoff.failed())

    def _receive(self, file: ListedFile, done: int) -> None:
        """As much of the file as comes before the connection breaks."""
        start = self._staged.part_bytes(file)
        if start == file.bytes:
            return
        asked = self._origin.file(self._manifest.name, file, start=start)
        with asked as body, self._staged.part(file).open("ab") as out:
            out.truncate(body.start)
            for piece in body.pieces:
                out.write(piece)
                self._sent[file.path] += len(piece)
                self._tell(done + out.tell())

    def _given_up(self, error: LinkFailed) -> LinkFailed:
        held = self._staged.held_bytes(self._files)
        return LinkFailed(
            f"{error.reason}; {held} of {self._total_bytes} bytes are kept, run it again to go on",
            remedy=error.remedy,
        )

    def _prove(self) -> None:
        """Refuse what cannot be opened here, or computes something else than at planning."""
        try:
            bundle = open_bundle(self._staged.path)
            needed = [
                (part.name, [spec.name for spec in part.outputs])
                for part in probed_parts(self._manifest)
                if part.side is not Side.SERVER
            ]
            opened = open_trusted(bundle, needed, threads=1)
            for engine in opened.engines.values():
                engine.close()
            if opened.distrusted:
                raise _unproven(opened.distrusted)
        except BadInput:
            self._staged.discard()
            raise

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(f"fetching {self._manifest.name}", done, self._total_bytes)


def _open_former(target: Path) -> Bundle | None:
    """The bundle that is there; one that cannot be opened is not worth keeping."""
    try:
        return open_bundle(target)
    except BadInput:
        return None


def _unproven(distrusted: Mapping[str, str]) -> BadInput:
    return BadInput(
        expected="a bundle whose parts give their stored answers on this machine",
        found=distrust_words(distrusted),
        remedy="install another version of onnxruntime, or ask for a bundle that was planned "
        "for this machine; the former bundle, if there was one, is still in place",
    )
