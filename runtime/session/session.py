"""One ONNX model on one execution provider."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.shapes import require_fit
from ..device.jetson import ROOT
from ..device.remedies import missing_onnxruntime
from ..errors import InputError, ModelError
from ..providers.base import Shape
from ..providers.placement import Placement
from ..providers.registry import PROVIDERS
from ..providers.request import ProviderRequest, as_request
from .binding import Binding, BindingPool, Bindings, Mark, RecordedBinding, no_mark
from .builder import Engine, ModelFor, open_first, same_model

OPTIONS_FROM_MODEL = "ORT_LOAD_CONFIG_FROM_MODEL"  # an environment variable of ONNX Runtime's


class Session:
    """Runs an ONNX model with one input and named outputs.

        with Session(Path("model.onnx").read_bytes(), provider="cpu") as session:
            outputs = session.run(batch)

    On a GPU the buffers of each shape of batch are allocated once and then reused. Inferences that run at
    once have buffers of their own; where a CUDA graph is replayed they wait for each other. On the CPU ONNX
    Runtime reads the caller's own array: to copy a picture into a buffer would cost more than to bind it.

    Args:
        model: the serialized ONNX model; or a function that gives it, with its precision, for the provider
            on which it will run.
        optimize: whether ONNX Runtime may rewrite the graph; off when single nodes are to be examined.
        provider: where and how to run it; a name alone stands for a request with that provider.

    Attributes:
        precision: of the model: fp32, fp16 or int8.
        placement: which provider runs which nodes.
        engine: the compiled engine; None with providers that compile nothing.
        input_name, input_shape, input_dtype: of its input; an axis of any length is not an int.
        output_names: names of its outputs.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
        PlacementError: the provider cannot be used here, or leaves nodes to another.
        OutputError: an engine must be compiled and cannot be kept.
        MissingDependency: ONNX Runtime is not installed.
    """

    def __init__(
        self, model: bytes | ModelFor, *, optimize: bool = True, provider: ProviderRequest | str = "cpu"
    ) -> None:
        request = as_request(provider)
        model_for = same_model(model, request) if isinstance(model, bytes) else model
        self._ort = load_onnxruntime()
        opened = open_first(self._ort, model_for, request, optimize=optimize)
        self._session: Any = opened.session
        self._request = opened.request
        self._provider = PROVIDERS[opened.placement.provider]
        self._bindings: Bindings = RecordedBinding() if opened.request.engine.cuda_graph else BindingPool()
        self._accepted: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self.precision: str = opened.request.precision or "fp32"
        self.placement: Placement = opened.placement
        self.engine: Engine | None = opened.engine
        self.input_name: str = opened.input.name
        self.input_shape: Shape = opened.input.shape
        self.input_dtype: str = opened.input.dtype
        self.output_names: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())

    @property
    def fixed_batch(self) -> int | None:
        """How many samples the model takes at once; None where it takes any number."""
        first = self.input_shape[0]
        return first if isinstance(first, int) else None

    def run(self, batch: NDArray[Any], mark: Mark = no_mark) -> dict[str, NDArray[Any]]:
        """Infer one batch and return all outputs by name.

        Args:
            batch: of the shape `input_shape` and the dtype `input_dtype`; its first axis is the batch.
            mark: called when the batch has been copied to the provider's memory, and again when the provider
                is done, so that the parts of an inference can be timed. Never called on the CPU, where
                nothing is copied.

        Raises:
            InputError: the shape or dtype is not the model's, the session was not opened for batches of this
                size, or it is closed.
            ModelError: ONNX Runtime failed while it ran.
        """
        if self._session is None:
            raise InputError("The session is closed.")
        if (batch.shape, batch.dtype) != self._accepted:
            self._check(batch)
            self._accepted = (batch.shape, batch.dtype)
        try:
            values = self._infer(batch, mark)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"ONNX Runtime failed on a batch of shape {batch.shape}: {error}") from error
        return dict(zip(self.output_names, values, strict=True))

    def close(self) -> None:
        """Release the model's memory, and the device's."""
        self._bindings.clear()
        self._session = None

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _infer(self, batch: NDArray[Any], mark: Mark) -> list[Any]:
        if not self._provider.memory:
            return self._session.run(self.output_names, {self.input_name: batch})
        return self._bindings.run(batch, self._bind, mark)

    def _bind(self, batch: NDArray[Any]) -> Binding:
        return Binding(
            self._ort,
            self._session,
            batch,
            input_name=self.input_name,
            output_names=self.output_names,
            device=self._provider.memory,
            index=self._request.device,
        )

    def _check(self, batch: NDArray[Any]) -> None:
        wanted = self.input_shape
        require_fit(batch, wanted, self.input_dtype, InputError, "The input does not fit the model.")
        batches = self._request.engine.batches
        limited = self._provider.fixes_batches(self._request) and not isinstance(wanted[0], int)
        if limited and not batches.smallest <= len(batch) <= batches.largest:
            raise InputError(
                f"The session was opened for batches from {batches.smallest} to {batches.largest}.",
                got=f"a batch of {len(batch)}",
                todo="open it for such batches",
            )


def run_batched(session: Session, samples: NDArray[Any], batch: int) -> dict[str, NDArray[Any]]:
    """Infer all samples in batches of at most `batch` and join the outputs along the first axis."""
    pieces = [session.run(samples[i : i + batch]) for i in range(0, len(samples), batch)]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in session.output_names}


def load_onnxruntime(root: Path = ROOT) -> Any:
    """Import onnxruntime, which each device installs in its own way, when it is first needed.

    PyTorch's exporter takes about two seconds longer in a process that has onnxruntime loaded. Where the
    environment asks ONNX Runtime to take session options from a model's metadata, that is forgotten: a bundle
    is untrusted, and options write profiles and load libraries.

    Args:
        root: where the file system starts.

    Raises:
        MissingDependency: it is not installed, or cannot be loaded.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_onnxruntime(error, root) from error
    os.environ.pop(OPTIONS_FROM_MODEL, None)
    return onnxruntime
