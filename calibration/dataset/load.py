"""A user's model in normal form, and the inputs that calibrate it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import TensorSpec
from ...runtime.bundle.parity import TOLERANCES, compare
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import InputError, ModelError, ParityError, gist
from ...runtime.session.session import Session, run_batched
from ...runtime.sources.readers import expand, read_image
from ..artifact import OnnxArtifact
from ..normalize.dynamic_reshape import keep_batch
from ..normalize.passes import normalize
from ..onnx_graph.read import parse_onnx, read_onnx
from ..onnx_graph.shapes import input_of
from ..progress import Progress
from .accuracy_drop import batch_of
from .calibration_set import CalibrationSet, inspect, read_calibration

IMAGES = "images:"
MAX_PICTURES = 128
PROVING = 8  # inputs, on which both forms of the model must give the same answers
ROUNDING = 1e-6  # of the largest answer: some units in the last place of float32


@dataclass(frozen=True)
class CalibrationInputs:
    """A model and its inputs.

    Attributes:
        artifact: the float32 model, normalized.
        samples: the inputs that calibrate it.
        preprocess: how its inputs are made of pictures, where that is known.
        labels: class of each input, shape (N,), where that is known.
    """

    artifact: OnnxArtifact
    samples: CalibrationSet
    preprocess: Preprocess | None = None
    labels: NDArray[np.integer] | None = None


def normal_form(artifact: OnnxArtifact) -> OnnxArtifact:
    """The same float32 model in the form that quantization takes, whatever its source.

    Raises:
        ModelError: it cannot be normalized.
    """
    return artifact.derive(keep_batch(normalize(artifact.model)), "normalize", "fp32")


def read_inputs(
    model: str | Path | onnx.ModelProto,
    calibration: str | Path | NDArray[Any],
    preprocess: Preprocess | None,
    progress: Progress,
) -> CalibrationInputs:
    """Read and normalize a model, read its inputs, and prove on some that it still answers as before.

    Args:
        model: an ONNX file, a bundle, whose float32 model is taken, or an ONNX model in memory.
        calibration: preprocessed inputs, shape (N, ...), in an array, a .npz or a .npy file; or `images:DIR`.
        preprocess: how its inputs are made of pictures; None for the bundle's own.
        progress: shows what goes on.

    Raises:
        InputError: the model or the inputs cannot be used.
        ParityError: the normalized model gives other answers.
    """
    with progress.stage("model"):
        original, own = _read(model)
        artifact = normal_form(original)
    with progress.stage("samples"):
        samples = _samples(calibration, input_of(artifact.model), preprocess or own)
    with progress.stage("normalize"):
        prove_same(original, artifact, samples)
    return CalibrationInputs(artifact, samples, preprocess or own)


def _read(model: str | Path | onnx.ModelProto) -> tuple[OnnxArtifact, Preprocess | None]:
    if isinstance(model, onnx.ModelProto):
        return OnnxArtifact(model, "memory"), None
    path = Path(model)
    if path.is_dir():
        bundle = Bundle.open(path)
        found = parse_onnx(bundle.model_bytes("fp32"), f"the float32 model of {path}")
        return OnnxArtifact(found, "bundle"), bundle.manifest.preprocess
    return OnnxArtifact(read_onnx(path), "file"), None


def _samples(
    calibration: str | Path | NDArray[Any], wanted: TensorSpec, preprocess: Preprocess | None
) -> CalibrationSet:
    if isinstance(calibration, np.ndarray):
        count = len(calibration) if calibration.ndim else 0
        return inspect(lambda positions: calibration[positions], count, wanted, "The array")
    if not str(calibration).startswith(IMAGES):
        return read_calibration(Path(calibration), wanted)
    if preprocess is None:
        raise InputError(
            "Pictures cannot calibrate a model without knowing how its inputs are prepared.",
            wanted="the training's preprocessing",
            todo="--preprocess FILE.json, or preprocessed inputs with --calibration FILE.npz",
        )
    return _pictures(str(calibration), preprocess, wanted)


def _pictures(source: str, preprocess: Preprocess, wanted: TensorSpec) -> CalibrationSet:
    paths = expand([source.removeprefix(IMAGES)])
    chosen = np.sort(np.random.default_rng(0).permutation(len(paths))[:MAX_PICTURES])

    def read(positions: NDArray[np.int64]) -> NDArray[Any]:
        return np.stack([preprocess(read_image(paths[chosen[position]])) for position in positions])

    return inspect(read, len(chosen), wanted, source)


def prove_same(original: OnnxArtifact, artifact: OnnxArtifact, samples: CalibrationSet) -> None:
    """Compare a model in normal form with the model as it came, on a few calibration inputs.

    Raises:
        ModelError: the model does not run as it came.
        ParityError: the answers differ by more than float32's rounding.
    """
    size = batch_of(artifact.model)
    inputs = samples.sample(PROVING)
    inputs = inputs[np.arange(-(-len(inputs) // size) * size) % len(inputs)]  # whole batches
    try:
        with Session(original.data) as session:
            wanted = run_batched(session, inputs, size)
    except ModelError as error:
        raise ModelError(
            "The model does not run on ONNX Runtime as it came, so nothing can be compared with it.",
            got=gist(error),
            todo="save it with an opset and an IR version that ONNX Runtime takes",
        ) from error
    with Session(artifact.data) as session:
        got = run_batched(session, inputs, size)
    for name in wanted:
        if difference := _difference(wanted[name], got[name]):
            raise ParityError(
                f"In normal form the model gives other answers: its output {name!r} differs.",
                wanted="the same on calibration inputs, up to float32's rounding",
                got=difference,
                todo="simplify the model first, with onnxsim for example, or export it again",
            )


def _difference(wanted: NDArray[Any], got: NDArray[Any]) -> str:
    """How two answers differ; empty where rounding explains it. NaN is like NaN: it is named later."""
    if np.array_equal(wanted, got):
        return ""
    if wanted.dtype.kind != "f":
        return "other values"
    largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=0)
    if wanted.shape == got.shape and np.allclose(got, wanted, 0, ROUNDING * largest, equal_nan=True):
        return ""
    return compare(wanted, got, TOLERANCES["fp32"]).reason
