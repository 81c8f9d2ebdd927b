"""Thread counts and batch size of a stream: chosen for the machine, unless they are given."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import InputError
from ..providers.base import Shape
from ..providers.placement import Placement
from ..providers.registry import PROVIDERS
from ..providers.request import ProviderRequest, require_at_least


@dataclass(frozen=True)
class Concurrency:
    """Thread counts and batch size of a stream.

    Attributes:
        workers: threads that decode and preprocess.
        streams: threads that infer, each with a batch of its own.
        batch: most frames in one inference. Only frames that are ready go together; none waits for others.
        padded: whether every batch is filled up to `batch` frames. A CUDA graph takes no other size, and the
            CUDA provider plans every convolution anew when the size changes (ONNX Runtime issue 23006).
    """

    workers: int
    streams: int
    batch: int = 1
    padded: bool = False

    @property
    def read_ahead(self) -> int:
        """How many frames may be read and not yet inferred."""
        return self.workers + self.streams * self.batch


def choose_concurrency(
    request: ProviderRequest,
    placement: Placement,
    shape: Shape,
    *,
    workers: int | None = None,
    streams: int | None = None,
) -> Concurrency:
    """Thread counts and batch size for this machine.

    On the CPU every core gets an inference of one thread, and a worker that decodes while there is room for
    what it reads. One inference on several threads would wait, at each of its operators, for the thread that
    shares its core with a worker. One thread feeds a GPU, unless more streams are requested.

    Args:
        request: how the model was opened.
        placement: where it runs.
        shape: of its input; a batch axis of any length is not an int.
        workers: threads that decode and preprocess; None for one a core.
        streams: threads that infer; None for as many as the CPU has cores for, and one on a GPU.

    Raises:
        InputError: a number is below 1, or the model takes one size of batch and another was requested.
    """
    require_at_least(1, workers=workers, streams=streams)
    provider, batch = PROVIDERS[placement.provider], request.engine.batches.usual
    fixed = shape[0] if isinstance(shape[0], int) else None
    if fixed and batch not in (1, fixed):
        raise InputError(f"The model takes batches of {fixed}.", got=f"a request for batches of {batch}")
    usual = max(1, cores() // (request.threads or 1)) if provider.concurrent_runs else 1
    padded = bool(fixed) or request.engine.cuda_graph or provider.replans_batches
    return Concurrency(workers or cores(), streams or usual, fixed or batch, padded)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
