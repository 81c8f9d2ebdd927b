"""Several sessions of one model: on a GPU, each inference that runs beside others needs a session of its own.

A TensorRT session computes one inference at a time, and a CUDA session computes all of them on one stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..errors import InputError
from ..providers.base import Shape
from ..providers.placement import Placement
from ..providers.registry import PROVIDERS
from ..providers.request import ProviderRequest
from .selection import open_session
from .session import Session


def open_sessions(bundle: Bundle, request: ProviderRequest, streams: int = 1) -> Session | SessionPool:
    """A bundle's session, or a pool of them where the provider needs one for each inference.

    Args:
        bundle: the bundle.
        request: how to run it.
        streams: how many inferences run at once.

    Raises:
        InputError: several streams are to replay one CUDA graph.
        EdgeproofError: as `open_session` does.
    """
    if request.engine.cuda_graph and streams > 1:
        raise InputError(
            "A CUDA graph is replayed by one stream.",
            got=f"a request for {streams}",
            todo="leave out --streams or --cuda-graph",
        )
    first = open_session(bundle, request)
    if streams == 1 or PROVIDERS[first.placement.provider].concurrent_runs:
        return first
    same = replace(request, provider=first.placement.provider, precision=first.precision)
    return SessionPool([first, *(open_session(bundle, same) for _ in range(streams - 1))])


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
