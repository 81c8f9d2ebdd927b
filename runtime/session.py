"""One ONNX model on one execution provider."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, MissingDependency, ModelError

if TYPE_CHECKING:
    import onnxruntime

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


class Session:
    """Runs a model with one input and named outputs.

    Args:
        model: the serialized ONNX model.
        optimize: whether ONNX Runtime may rewrite the graph; off when single nodes are to be examined.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
        MissingDependency: ONNX Runtime is not installed.
    """

    def __init__(self, model: bytes, *, optimize: bool = True) -> None:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        # A model given as bytes may still name files for its weights, which no hash of ours covers.
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
        if not optimize:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session: onnxruntime.InferenceSession | None = ort.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"ONNX Runtime {ort.__version__} does not accept the model: {error}") from error
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ModelError(
                "The model must have exactly one input.", got=", ".join(i.name for i in inputs) or "none"
            )
        self.input_name: str = inputs[0].name
        self.input_shape: tuple[int | str | None, ...] = tuple(inputs[0].shape)
        self.input_dtype = DTYPES.get(inputs[0].type, inputs[0].type)
        self.output_names: tuple[str, ...] = tuple(o.name for o in self._session.get_outputs())

    def run(self, batch: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Infer one batch, whose first axis is the batch, and return all outputs by name.

        Raises:
            InputError: the shape or dtype is not the model's, or the session is closed.
            ModelError: ONNX Runtime failed while it ran.
        """
        if self._session is None:
            raise InputError("The session is closed.")
        self._check(batch)
        try:
            values: list[Any] = list(self._session.run(None, {self.input_name: batch}))
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"ONNX Runtime failed on a batch of shape {batch.shape}: {error}") from error
        return dict(zip(self.output_names, values, strict=True))

    def close(self) -> None:
        """Release the model's memory."""
        self._session = None

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, batch: NDArray[Any]) -> None:
        wanted = self.input_shape
        fits = batch.ndim == len(wanted) and all(
            not isinstance(side, int) or side == got for side, got in zip(wanted, batch.shape, strict=True)
        )
        if not fits or batch.dtype != self.input_dtype:
            raise InputError(
                "The input does not fit the model.",
                wanted=f"{self.input_dtype} of shape ({', '.join(map(str, wanted))})",
                got=f"{batch.dtype} of shape {batch.shape}",
            )


def run_batched(session: Session, samples: NDArray[Any], batch: int) -> dict[str, NDArray[Any]]:
    """Infer all samples in batches of at most `batch` and join the outputs along the first axis."""
    pieces = [session.run(samples[i : i + batch]) for i in range(0, len(samples), batch)]
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in session.output_names}


def softmax(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Probabilities along the last axis."""
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def probabilities(outputs: Mapping[str, NDArray[Any]], name: str, scores: str) -> NDArray[np.floating]:
    """The first output as probabilities, shape (N, classes), whatever the network ends in."""
    values = outputs[name].astype(np.float32)
    return values if scores == "probabilities" else softmax(values)


def load_onnxruntime() -> Any:
    """Import onnxruntime, which each device installs in its own way, when it is first needed.

    PyTorch's exporter takes about two seconds longer in a process that has onnxruntime loaded.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependency("onnxruntime", "cpu", "Running a model") from error
    return onnxruntime
