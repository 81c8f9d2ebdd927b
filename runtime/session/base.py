"""What a runner needs of a session, so that a pool, or a stand-in for tests, can take its place."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from ..providers.base import Shape
from ..providers.placement import Placement


class InferenceSession(Protocol):
    """A model that is ready to run; `edgeproof.runtime.testing.FakeSession` is one without a provider."""

    @property
    def placement(self) -> Placement:
        """Where it runs."""
        ...

    @property
    def precision(self) -> str:
        """fp32, fp16 or int8."""
        ...

    @property
    def input_shape(self) -> Shape:
        """Shape of its input; an axis of any length is not an int."""
        ...

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of its outputs."""
        ...

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Infer one batch; several threads call it at once if there are several streams."""
        ...

    def close(self) -> None:
        """Release it."""
        ...
