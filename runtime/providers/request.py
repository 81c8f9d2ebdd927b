"""What a user requests of an execution provider."""

from __future__ import annotations

from dataclasses import dataclass

from ..bundle.manifest import PRECISIONS
from ..errors import InputError
from .registry import AUTO, PROVIDERS, names_of


def _require_among(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"There is no {what} {value!r}.", available=", ".join(choices))


def require_at_least(least: int, **values: int | None) -> None:
    """Refuse a number that is too small.

    Raises:
        InputError: names the first.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"{name} is {value}.", wanted=f"{least} or more")


@dataclass(frozen=True)
class Batches:
    """Sizes of a batch for which an engine is compiled: all between the ends, fastest at the usual one.

    Raises:
        InputError: they are not positive and in order.
    """

    smallest: int = 1
    usual: int = 1
    largest: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.usual <= self.largest:
            raise InputError(
                f"The batches {self.smallest}, {self.usual}, {self.largest} are not in order.",
                wanted="1 <= smallest <= usual <= largest",
            )


@dataclass(frozen=True)
class EngineOptions:
    """How a GPU provider prepares a model: for which batches, on which unit, with how much memory.

    Attributes:
        batches: the batches to expect; TensorRT refuses others.
        cuda_graph: whether to replay the launches as one; the batch is then always `batches.usual`.
        dla_core: deep learning accelerator of a Jetson to use; None for the GPU.
        workspace: most bytes that TensorRT may use while it compiles; None for its own choice.

    Raises:
        InputError: a number is too small, or a CUDA graph is to serve several sizes of batch.
    """

    batches: Batches = Batches()
    cuda_graph: bool = False
    dla_core: int | None = None
    workspace: int | None = None

    def __post_init__(self) -> None:
        require_at_least(0, dla_core=self.dla_core)
        require_at_least(1, workspace=self.workspace)
        if self.cuda_graph and self.batches.smallest != self.batches.largest:
            raise InputError(
                "A CUDA graph is recorded for one batch size.",
                got=f"batches from {self.batches.smallest} to {self.batches.largest}",
            )


@dataclass(frozen=True)
class ProviderRequest:
    """Where a model is to run, and how.

        ProviderRequest("cpu", threads=1)
        ProviderRequest("tensorrt", "fp16", engine=EngineOptions(Batches(1, 4, 8)))

    Attributes:
        provider: tensorrt, cuda, cpu, or auto for the first of these that takes every node.
        precision: fp32, fp16 or int8: what the graph was made for. None for what suits the provider, where a
            bundle has several (`ExecutionProvider.usual_precision`).
        device: index of the GPU.
        allow_fallback: whether nodes, or the whole model, may run elsewhere.
        exact: whether float32 must be multiplied as float32 and not as TF32.
        threads: CPU threads that compute one inference; None for one a core.
        engine: how a GPU provider prepares the model.

    Raises:
        InputError: a name is unknown, a number is too small, or the provider cannot do what is requested.
    """

    provider: str = "cpu"
    precision: str | None = None
    device: int = 0
    allow_fallback: bool = False
    exact: bool = False
    threads: int | None = None
    engine: EngineOptions = EngineOptions()

    def __post_init__(self) -> None:
        _require_among("provider", self.provider, (*PROVIDERS, AUTO))
        if self.precision is not None:
            _require_among("precision", self.precision, PRECISIONS)
        require_at_least(0, device=self.device)
        require_at_least(1, threads=self.threads)
        with_graphs = names_of(lambda provider: provider.has_cuda_graphs)
        if self.engine.cuda_graph and self.provider not in (AUTO, *with_graphs):
            raise InputError(
                f"The provider {self.provider} has no CUDA graph.",
                available=f"--provider {' or '.join(with_graphs)}",
            )
        with_dla = names_of(lambda provider: provider.has_dla)
        if self.engine.dla_core is not None and self.provider not in with_dla:
            raise InputError(
                f"The provider {self.provider} does not reach the DLA.",
                todo=f"add --provider {' or '.join(with_dla)}",
            )


def as_request(provider: ProviderRequest | str) -> ProviderRequest:
    """A request; a name alone stands for a request with that provider."""
    return ProviderRequest(provider) if isinstance(provider, str) else provider
