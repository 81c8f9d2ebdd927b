"""Threads that apply a function to a stream of items, in bounded memory, and keep the items' order."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")

JOIN_TIMEOUT = 5.0  # seconds for which `close` waits for a worker whose source gives nothing


class OrderedWorkers(Generic[In, Out]):
    """Applies a function to items in several threads and gives the results in the items' order.

    The workers take the items from the iterable themselves, one worker at a time. That may block; meanwhile
    the others work and results are given. At most `depth` items are taken whose results are not yet given, so
    memory does not grow with the stream. An exception of the function, or of the iterable, is raised where
    its result would have come. The results are an iterable, so that one object can follow another.

    Args:
        function: applied to each item, in several threads at once.
        items: iterated in several threads, never by two at once.
        workers: number of threads.
        depth: how many items may be under way; at least `workers` for all of them to have work.
    """

    def __init__(
        self, function: Callable[[In], Out], items: Iterable[In], *, workers: int, depth: int
    ) -> None:
        self._function = function
        self._items = iter(items)
        self._turn = threading.Lock()
        self._room = threading.Semaphore(depth)
        # A signal's handler may call `stop` in a thread that is inside: its lock must be reentrant.
        self._changed = threading.Condition(threading.RLock())
        self._slots: deque[_Slot[Out]] = deque()
        self._ended = False
        self._workers = [
            threading.Thread(target=self._work, name=f"edgeproof-{i}", daemon=True) for i in range(workers)
        ]
        for worker in self._workers:
            worker.start()

    def take_ready(self, limit: int) -> list[Out]:
        """The next result, and those after it that are ready, at most `limit`; an empty list at the end.

        Raises:
            Exception: the one that the next item's work raised.
        """
        taken: list[Out] = []
        with self._changed:
            self._changed.wait_for(self._is_ready)
            while self._slots and self._slots[0].done and len(taken) < limit:
                if self._slots[0].error is not None and taken:
                    break
                slot = self._slots.popleft()
                self._room.release()
                taken.append(slot.result())
        return taken

    def stop(self) -> None:
        """Take no more items; finish those under way and give their results. Signal-safe."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more items, drop those under way, and wait until the threads have ended."""
        self.stop()
        for _ in self._workers:
            self._room.release()
        deadline = time.monotonic() + JOIN_TIMEOUT
        for worker in self._workers:
            if worker is not threading.current_thread():
                worker.join(max(0.0, deadline - time.monotonic()))

    def __iter__(self) -> Iterator[Out]:
        while taken := self.take_ready(1):
            yield taken[0]

    def __enter__(self) -> OrderedWorkers[In, Out]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _is_ready(self) -> bool:
        return self._slots[0].done if self._slots else self._ended

    def _work(self) -> None:
        while (drawn := self._draw()) is not None:
            slot, item = drawn
            try:
                slot.value = self._function(item)
            except BaseException as error:  # raised again in the thread that takes it
                slot.error = error
            self._finish(slot)

    def _draw(self) -> tuple[_Slot[Out], In] | None:
        with self._turn:
            self._room.acquire()
            if self._ended:
                return None
            try:
                item = next(self._items)
            except StopIteration:
                self.stop()
                return None
            except BaseException as error:  # raised again in the thread that takes it
                self._fail(error)
                return None
            with self._changed:
                if self._ended:
                    return None
                slot: _Slot[Out] = _Slot()
                self._slots.append(slot)
            return slot, item

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._slots.append(_Slot(error))
            self.stop()

    def _finish(self, slot: _Slot[Out]) -> None:
        with self._changed:
            slot.done = True
            if self._slots and self._slots[0] is slot:
                self._changed.notify_all()


class _Slot(Generic[Out]):
    """The place of one result in the order."""

    __slots__ = ("done", "error", "value")

    def __init__(self, error: BaseException | None = None) -> None:
        self.done = error is not None
        self.error = error
        self.value: Out | None = None

    def result(self) -> Out:
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value]
