"""A user's model in normal form, and the inputs that calibrate it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from ...runtime.tasks.base import Task
from ...runtime.tasks.classification import Classification
from ...runtime.tasks.registry import described, infer_task
from ..artifact import OnnxArtifact
from ..normalize.dynamic_reshape import keep_batch
from ..normalize.passes import normalize
from ..onnx_graph.input_shape import open_unknown_sides, with_input
from ..onnx_graph.read import parse_onnx, read_onnx
from ..onnx_graph.shapes import input_of
from ..progress import Progress
from .accuracy_drop import batch_of
from .calibration_set import CalibrationSet, inspect, read_calibration

Samples = str | Path | NDArray[Any]
IMAGES = ("images:", "imagefolder:")  # pictures in a folder, whatever its own folders stand for
CLASSIFICATION = Classification()
MAX_PICTURES = 128
PROVING = 8  # inputs, on which both forms of the model must give the same answers
ROUNDING = 1e-6  # of the largest answer: some units in the last place of float32


@dataclass(frozen=True)
class InputShape:
    """What is said of a model's input beside its file.

    Attributes:
        sides: of a sample, without the batch; None for those of the file.
        batch: 0 for one that may vary; None for that of the file.
    """

    sides: tuple[int, ...] | None = None
    batch: int | None = None


AS_DECLARED = InputShape()


@dataclass(frozen=True)
class CalibrationInputs:
    """A model and its inputs.

    Attributes:
        artifact: the float32 model, normalized.
        samples: the inputs that calibrate it.
        preprocess: how its inputs are made of pictures, where that is known.
        task: what the model's answers mean.
        truths: the truth of each input, in coordinates of the model's input, where that is known.
        judging: other inputs, which judge the result; None where the caller judges it.
    """

    artifact: OnnxArtifact
    samples: CalibrationSet
    preprocess: Preprocess | None = None
    task: Task = CLASSIFICATION
    truths: Sequence[Any] | None = None
    judging: CalibrationSet | None = None


def normal_form(artifact: OnnxArtifact) -> OnnxArtifact:
    """The same float32 model in the form that quantization takes, whatever its source.

    Raises:
        ModelError: it cannot be normalized.
    """
    return artifact.derive(keep_batch(normalize(artifact.model)), "normalize", "fp32")


def read_inputs(
    model: str | Path | onnx.ModelProto,
    calibration: Samples,
    preprocess: Preprocess | None,
    progress: Progress,
    *,
    task: Task | None = None,
    judge: Samples | None = None,
    shape: InputShape = AS_DECLARED,
) -> CalibrationInputs:
    """Read and normalize a model, read its inputs, and prove on some that it still answers as before.

    Args:
        model: an ONNX file, a bundle, whose float32 model is taken, or an ONNX model in memory.
        calibration: preprocessed inputs, shape (N, ...), in an array, a .npz or a .npy file; or `images:DIR`.
        preprocess: how its inputs are made of pictures; None for the bundle's own.
        progress: shows what goes on.
        task: what the answers mean; None for the bundle's own, or for what the answers suggest.
        judge: inputs that judge, in the same forms; None to hold a part of `calibration` back, by seed.
        shape: of the input, where the file leaves it open or states another.

    Raises:
        InputError: the model or the inputs cannot be used.
        ParityError: the normalized model gives other answers.
    """
    with progress.stage("model"):
        read = _read(model, shape)
        artifact = normal_form(read.artifact)
    preprocess = preprocess or read.preprocess
    with progress.stage("samples"):
        samples = _samples(calibration, input_of(artifact.model), preprocess)
        judging = None if judge is None else _samples(judge, input_of(artifact.model), preprocess)
    with progress.stage("normalize"):
        answers = prove_same(read.artifact, artifact, samples)
    if judging is None:
        judging, samples = samples.hold_back()
    found = task or read.task
    if found is None:
        found = infer_task(answers)
        progress.note(f"judged as {described(found)}, which the outputs suggest (--task changes that)")
    found = found.for_input(samples.sample(1).shape[1:])
    return CalibrationInputs(artifact, samples, preprocess, found, judging=judging)


@dataclass(frozen=True)
class _Read:
    """A model as it came, and what a bundle says of it."""

    artifact: OnnxArtifact
    preprocess: Preprocess | None = None
    task: Task | None = None


def _read(model: str | Path | onnx.ModelProto, shape: InputShape) -> _Read:
    read = _read_as_declared(model)
    changed = with_input(read.artifact.model, shape.sides, shape.batch)
    if changed is read.artifact.model:
        return read
    return replace(read, artifact=OnnxArtifact(changed, read.artifact.stage))


def _read_as_declared(model: str | Path | onnx.ModelProto) -> _Read:
    if isinstance(model, onnx.ModelProto):
        own = onnx.ModelProto()
        own.CopyFrom(model)
        open_unknown_sides(own)
        return _Read(OnnxArtifact(own, "memory"))
    path = Path(model)
    if path.is_dir():
        bundle = Bundle.open(path)
        found = parse_onnx(bundle.model_bytes("fp32"), f"the float32 model of {path}")
        return _Read(OnnxArtifact(found, "bundle"), bundle.manifest.preprocess, bundle.task)
    return _Read(OnnxArtifact(read_onnx(path), "file"))


def _samples(calibration: Samples, wanted: TensorSpec, preprocess: Preprocess | None) -> CalibrationSet:
    if isinstance(calibration, np.ndarray):
        count = len(calibration) if calibration.ndim else 0
        return inspect(lambda positions: calibration[positions], count, wanted, "The array")
    if not str(calibration).startswith(IMAGES):
        _refuse_folder(Path(calibration))
        return read_calibration(Path(calibration), wanted)
    if preprocess is None:
        raise InputError(
            "Pictures cannot calibrate a model without knowing how its inputs are prepared.",
            wanted="the training's preprocessing",
            todo="--preprocess FILE.json, or preprocessed inputs with --calibration FILE.npz",
        )
    return _pictures(str(calibration), preprocess, wanted)


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise InputError(
            f"{path} is a folder.", wanted="a .npz or .npy file, or images:DIR", todo=f"{IMAGES[0]}{path}"
        )


def _pictures(source: str, preprocess: Preprocess, wanted: TensorSpec) -> CalibrationSet:
    paths = expand([source.partition(":")[2]])
    chosen = np.sort(np.random.default_rng(0).permutation(len(paths))[:MAX_PICTURES])

    def read(positions: NDArray[np.int64]) -> NDArray[Any]:
        return np.stack([preprocess(read_image(paths[chosen[position]])) for position in positions])

    return inspect(read, len(chosen), wanted, source)


def prove_same(
    original: OnnxArtifact, artifact: OnnxArtifact, samples: CalibrationSet
) -> dict[str, NDArray[Any]]:
    """Compare a model in normal form with the model as it came, on a few calibration inputs.

    Returns:
        The answers of the model in normal form to these inputs, by output name.

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
    return got


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
