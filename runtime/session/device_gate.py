"""A lock for a process's GPU work: shared by inferences, exclusive for what allocates or records.

While one thread records a CUDA graph, an allocation in any other thread makes CUDA fail with error 900. So
inferences hold one lock together, and a thread that records a graph, opens a session or allocates buffers
holds it exclusively.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DeviceGate:
    """A lock that many threads may hold `shared`, or one thread `exclusive`.

    A thread that holds it exclusively may enter both again. A thread inside `shared` must not ask for
    `exclusive`: it would wait for itself.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._owner: int | None = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold it with others: for an inference that allocates nothing."""
        me = threading.get_ident()
        with self._changed:
            self._changed.wait_for(lambda: self._owner in (None, me))
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold it alone: to record a graph, open a session or allocate."""
        me = threading.get_ident()
        if self._owner == me:
            yield
            return
        with self._changed:
            self._changed.wait_for(lambda: self._owner is None)
            self._owner = me
            self._changed.wait_for(lambda: self._inside == 0)
        try:
            yield
        finally:
            with self._changed:
                self._owner = None
                self._changed.notify_all()


GATE = DeviceGate()
"""Of this process: its libraries share one CUDA context a GPU."""
