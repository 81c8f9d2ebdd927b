"""Sessions of one model side by side: on a GPU, inferences at once need a session each.

One TensorRT session lets one inference in at a time, and one CUDA session gives all of them its one stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..providers.placement import Placement
from ..providers.request import ProviderRequest, Shape
from .selection import model_for
from .session import Session


def open_sessions(bundle: Bundle, request: ProviderRequest) -> Session | SessionPool:
    """A bundle's session for as many inferences at once as are asked for.

    On the CPU one session takes any number of them.

    Args:
        bundle: the bundle.
        request: how to run it; with `streams`, how many inferences at once.

    Raises:
        EdgeproofError: as `Session` and `selection.model_for` do.
    """
    source = model_for(bundle, request)
    first = Session(source, provider=request)
    more = (request.streams or 1) - 1
    if first.placement.provider == "cpu" or not more:
        return first
    same = replace(request, provider=first.placement.provider, precision=first.precision)
    return SessionPool([first, *(Session(source, provider=same) for _ in range(more))])


class SessionPool:
    """Runs each batch on a session that is idle; it can be used wherever one session can.

    Args:
        sessions: at least one, all of the same model on the same provider.

    Attributes:
        placement, precision, input_shape, input_dtype, output_names: of each session.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        first, *_ = sessions
        self._sessions = tuple(sessions)
        self._idle: SimpleQueue[Session] = SimpleQueue()
        for session in sessions:
            self._idle.put(session)
        self.placement: Placement = first.placement
        self.precision: str = first.precision
        self.input_shape: Shape = first.input_shape
        self.input_dtype: str = first.input_dtype
        self.output_names: tuple[str, ...] = first.output_names

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Infer one batch; waits where all sessions are busy. Results and errors are `Session.run`'s."""
        session = self._idle.get()
        try:
            return session.run(batch)
        finally:
            self._idle.put(session)

    def close(self) -> None:
        """Release every session."""
        for session in self._sessions:
            session.close()
