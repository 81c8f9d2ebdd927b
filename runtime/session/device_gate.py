"""Who may use a GPU while one thread records a CUDA graph on it.

While a graph is recorded, any other thread's allocation makes CUDA fail with error 900. So one gate stands in
front of the whole process's GPU work: inferences pass it together, and whoever records a graph, opens a
session or allocates buffers has it alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class DeviceGate:
    """Many may pass `shared` at once; `alone` waits for them and lets in nobody else.

    A thread that has it alone may enter both again; one inside `shared` must not ask to be alone.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._owner: int | None = None

    @contextmanager
    def shared(self) -> Iterator[None]:
        """For an inference that allocates nothing."""
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
    def alone(self) -> Iterator[None]:
        """For recording a graph, opening a session, and allocating."""
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
