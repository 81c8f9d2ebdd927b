"""A runner that follows a slot: it changes over to a new bundle between two frames, and loses none."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from ..bundle.bundle import Bundle
from ..errors import EdgeproofError
from ..inference.results import BadFrame, Prediction, Totals
from ..inference.runner import Runner, Visit
from ..providers.placement import Placement
from ..signing.keys import VerifyingKey
from ..signing.signature import open_signed
from ..sources.frames import Frame, Source
from ..sources.source import Item, SourceChain, open_source
from .slot import Slot, nothing_installed

POLL_SECONDS = 0.5  # between two looks at the slot's link

OpenRunner = Callable[[Bundle], Runner]
Tell = Callable[[str], None]


def open_runner(
    folder: Path,
    open_bundle: OpenRunner,
    keys: Sequence[VerifyingKey] = (),
    *,
    tell: Tell = lambda line: None,
) -> Runner | SlotRunner:
    """A runner of a bundle, or one that follows a slot, whichever the folder is.

    Args:
        folder: a bundle or a slot.
        open_bundle, keys, tell: as for `SlotRunner`.

    Raises:
        EdgeproofError: as `SlotRunner` does.
    """
    slot = Slot.at(folder)
    return (
        open_bundle(open_signed(folder, keys))
        if slot is None
        else SlotRunner(slot, open_bundle, keys, tell=tell)
    )


class SlotRunner:
    """Runs the bundle of a slot, and each that is installed later. Use it in a `with` block.

    A thread watches the slot's link. When it names another version, that bundle is opened beside the one in
    use, with its hashes and its signature checked; once it is ready, the next frames go to it. Frames under
    way are answered by the bundle that began them. A bundle that cannot be opened changes nothing.

    Args:
        slot: what to follow.
        open_bundle: opens a runner of a bundle, such as `Runner.open` with the options that are wanted.
        keys: public keys, one of which must have signed each bundle; with none, no signature is required.
        tell: is given a line about every change, and every one that failed; called in the watching thread.
        poll: seconds between two looks at the slot.

    Raises:
        InputError: nothing is installed.
        BundleError: what is installed does not verify.
        EdgeproofError: as `open_bundle` does.
    """

    def __init__(
        self,
        slot: Slot,
        open_bundle: OpenRunner,
        keys: Sequence[VerifyingKey] = (),
        *,
        tell: Tell = lambda line: None,
        poll: float = POLL_SECONDS,
    ) -> None:
        self._slot = slot
        self._open_bundle = open_bundle
        self._keys = keys
        self._tell = tell
        self._poll = poll
        self._seen = slot.current
        if self._seen is None:
            raise nothing_installed(slot)
        self._runner = self._open(self._seen)
        self._past = Totals()
        self._told = ""
        self._next: Runner | None = None
        self._ready = threading.Event()  # set while `_next` waits to be taken
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._sources: list[Source] = []
        self._watcher = threading.Thread(target=self._watch, name="edgeproof-slot", daemon=True)
        self._watcher.start()

    @property
    def bundle(self) -> Bundle:
        """The bundle in use."""
        return self._runner.bundle

    @property
    def placement(self) -> Placement:
        """Which provider runs which nodes of it."""
        return self._runner.placement

    @property
    def precision(self) -> str:
        """Precision of the model in use."""
        return self._runner.precision

    @property
    def classes(self) -> int:
        """How many classes its predictions hold."""
        return self._runner.classes

    @property
    def totals(self) -> Totals:
        """Counts of frames over all bundles so far."""
        return _sum(self._past, self._runner.totals)

    def stream(
        self, source: Source | Item | Iterable[Item], *, visit: Visit | None = None
    ) -> Iterator[Prediction | BadFrame]:
        """Label frame after frame, as `Runner.stream` does, with the bundle that is in use when each comes.

        Args:
            source, visit: as for `Runner.stream`.

        Raises:
            EdgeproofError: as `Runner.stream` does.
        """
        manifest = self.bundle.manifest
        whole = open_source(source, manifest.input, pictures=manifest.preprocess is not None)
        frames = iter(whole)
        self._sources.append(whole)
        dropped = 0
        try:
            while not self._ended.is_set():
                segment = _Segment(frames, whole, dropped, self._ready)
                yield from self._runner.stream(segment, visit=visit)
                if segment.exhausted:
                    break
                dropped += segment.dropped
                self._change_over()
        finally:
            self._sources.remove(whole)
            whole.close()
            self._past.skipped += whole.skipped if isinstance(whole, SourceChain) else 0

    def stop(self) -> None:
        """End every stream after the frames that are under way. A signal's handler may call it."""
        self._ended.set()
        for source in list(self._sources):
            source.close()
        self._runner.stop()

    def close(self) -> None:
        """End the streams and the watching, and release the models."""
        self.stop()
        if self._watcher is not threading.current_thread():
            self._watcher.join()
        with self._lock:
            waiting, self._next = self._next, None
        if waiting is not None:
            waiting.close()
        self._runner.close()

    def __enter__(self) -> SlotRunner:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, version: str) -> Runner:
        return self._open_bundle(open_signed(self._slot.bundle(version), self._keys))

    def _watch(self) -> None:
        while not self._ended.wait(self._poll):
            try:
                version = self._slot.current
                if version is None or version == self._seen:
                    continue
                self._seen = version
                runner = self._open(version)
            except (EdgeproofError, OSError) as error:
                self._tell_failure(f"slot {self._slot.folder}: not changed over. {error}")
                continue
            with self._lock:
                replaced, self._next = self._next, runner
                self._ready.set()
            if replaced is not None:
                replaced.close()

    def _tell_failure(self, line: str) -> None:
        """Once, though the slot is looked at again and again."""
        if line != self._told:
            self._told = line
            self._tell(line)

    def _change_over(self) -> None:
        with self._lock:
            runner, self._next = self._next, None
            self._ready.clear()
        if runner is None:
            return
        self._past = _sum(self._past, self._runner.totals)
        before, self._runner = self._runner, runner
        before.close()
        if self._ended.is_set():
            runner.stop()
        manifest = runner.bundle.manifest
        self._tell(f"slot {self._slot.folder}: changed over to {manifest.name} of {manifest.created}")


def _sum(one: Totals, other: Totals) -> Totals:
    names = [field.name for field in fields(Totals)]
    return Totals(**{name: getattr(one, name) + getattr(other, name) for name in names})


class _Segment:
    """The frames of a source until a change is ready. What follows stays in the source, for the next one."""

    def __init__(self, frames: Iterator[Frame], source: Source, counted: int, ready: threading.Event) -> None:
        self._frames = frames
        self._source = source
        self._ready = ready
        self._counted = counted
        self._closed = False
        self.exhausted = False

    @property
    def dropped(self) -> int:
        """Frames lost that no segment before has counted."""
        return self._source.dropped - self._counted

    def __iter__(self) -> Iterator[Frame]:
        while not (self._closed or self._ready.is_set()):
            frame = next(self._frames, None)
            if frame is None:
                self.exhausted = True
                return
            yield frame

    def close(self) -> None:
        """Take no more frames; the source itself stays open."""
        self._closed = True
