"""How many threads do what: a runner's choice, unless it is told."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import InputError
from ..providers.placement import Placement
from ..providers.request import ProviderRequest, Shape


@dataclass(frozen=True)
class Crew:
    """The threads of a stream, and how many frames go together.

    Attributes:
        readers: threads that decode and preprocess.
        lanes: threads that infer, each a batch of its own.
        batch: most frames of one inference; those that are ready go, none waits for others.
        padded: whether every batch is filled up to that size: a CUDA graph takes no other, and the CUDA
            provider plans every convolution anew when the batch changes (ONNX Runtime issue 23006).
    """

    readers: int
    lanes: int
    batch: int = 1
    padded: bool = False

    @property
    def ahead(self) -> int:
        """How many frames may be read and not yet inferred."""
        return self.readers + self.lanes * self.batch


def choose(request: ProviderRequest, placement: Placement, shape: Shape, workers: int | None) -> Crew:
    """A crew for this machine.

    On the CPU every core gets an inference of one thread, and a reader that works while there is room for
    what it reads. One inference on several threads would wait at each of its operators for whichever thread
    shares its core with a reader. A GPU is fed by one thread, unless more streams are asked for, each with a
    session of its own.

    Args:
        request: how the model was opened.
        placement: where it runs.
        shape: of its input; a batch that may vary is not an int.
        workers: how many readers; None for one a core.

    Raises:
        InputError: the model has one size of batch, and another was asked for.
    """
    batch = request.batches.usual
    fixed = shape[0] if isinstance(shape[0], int) else None
    if fixed and batch not in (1, fixed):
        raise InputError(f"The model takes batches of {fixed}.", got=f"a request for batches of {batch}")
    usual = max(1, cores() // (request.threads or 1)) if placement.provider == "cpu" else 1
    lanes = request.streams or usual
    padded = bool(fixed) or request.cuda_graph or placement.provider == "cuda"
    return Crew(workers or cores(), lanes, fixed or batch, padded)


def cores() -> int:
    """CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
