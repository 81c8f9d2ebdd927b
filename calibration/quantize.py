"""`edgeproof quantize`: any ONNX classification model to INT8, judged against itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.bundle import Bundle
from ..runtime.errors import AccuracyError, InputError
from ..runtime.files import publish_file
from ..runtime.manifest import TensorSpec
from ..runtime.preprocess import Preprocess
from ..runtime.records import encode
from ..runtime.sources import expand, read_image
from .artifact import OnnxArtifact
from .batches import CalibrationSet, input_of, inspect, read_calibration
from .calibration_cache import read_calibration_cache
from .int8 import Int8Request, Int8Result, with_ranges
from .normalize import normalize
from .onnx_file import parse_onnx, read_onnx
from .progress import Stages
from .sites import activations, find_sites
from .targets import Target

IMAGES = "images:"
MOST_PICTURES = 128


@dataclass(frozen=True)
class QuantizeRequest:
    """What `edgeproof quantize` is asked for.

    Attributes:
        model: an ONNX file, or a bundle, whose float32 model is taken.
        calibration: a .npz or .npy file of preprocessed inputs, or `images:DIR`.
        out: the ONNX file to write.
        int8: the budget and what may be done to hold it.
        target: what the INT8 model is made for.
        preprocess: for `images:DIR`; None for the bundle's own.
        scales: a TensorRT calibration cache whose scales are taken as they are; None to find better ones.
    """

    model: Path
    calibration: str
    out: Path
    int8: Int8Request
    target: Target
    preprocess: Preprocess | None = None
    scales: Path | None = None


def quantize(request: QuantizeRequest, stages: Stages) -> Int8Result:
    """Quantize, prove the result on the calibration inputs, and write it.

    Without labels every answer that INT8 changes counts against the budget: the drop of top-1 is never more.

    Raises:
        InputError: the model, the inputs or the output cannot be used.
        AccuracyError: the budget does not hold; nothing is written.
    """
    with stages.stage("model"):
        artifact, preprocess = _read(request)
    with stages.stage("samples"):
        samples = _samples(request, input_of(artifact.model), request.preprocess or preprocess)
    result = _quantized(request, artifact, samples, stages)
    if not result.parity or result.drop > request.int8.max_drop:
        raise AccuracyError(
            "INT8 does not keep this model's answers.",
            wanted=f"at most {request.int8.max_drop:g} % of them changed",
            got=result.parity.reason or f"{result.drop:.2f} % of {len(samples)} changed",
            todo="ship FP16, give more calibration inputs, or allow more with --max-drop",
        )
    with publish_file(request.out) as draft:
        draft.write_bytes(result.artifact.data)
    return result


def _quantized(
    request: QuantizeRequest, artifact: OnnxArtifact, samples: CalibrationSet, stages: Stages
) -> Int8Result:
    if request.scales is not None:
        ranges = read_calibration_cache(request.scales, activations(find_sites(artifact.model)))
        with stages.stage("int8"):
            return with_ranges(artifact, samples, ranges)
    with stages.stage("calibrate"):
        statistics = request.target.calibrate(artifact, samples, stages)
    with stages.stage("int8"):
        return request.target.make(artifact, samples, statistics, request.int8, stages=stages)


def _read(request: QuantizeRequest) -> tuple[OnnxArtifact, Preprocess | None]:
    if request.model.is_dir():
        bundle = Bundle.open(request.model)
        model = parse_onnx(bundle.model_bytes("fp32"), f"the float32 model of {request.model}")
        return OnnxArtifact(normalize(model), "normalize"), bundle.manifest.preprocess
    return OnnxArtifact(normalize(read_onnx(request.model)), "normalize"), None


def _samples(request: QuantizeRequest, wanted: TensorSpec, preprocess: Preprocess | None) -> CalibrationSet:
    if not request.calibration.startswith(IMAGES):
        return read_calibration(Path(request.calibration), wanted)
    if preprocess is None:
        raise InputError(
            "Pictures cannot calibrate a model without knowing how its inputs are prepared.",
            wanted="the training's preprocessing",
            todo="--preprocess FILE.json, or preprocessed inputs with --calibration FILE.npz",
        )
    return _pictures(request.calibration, preprocess, wanted)


def _pictures(source: str, preprocess: Preprocess, wanted: TensorSpec) -> CalibrationSet:
    paths = expand([source.removeprefix(IMAGES)])
    chosen = np.sort(np.random.default_rng(0).permutation(len(paths))[:MOST_PICTURES])

    def read(positions: NDArray[np.int64]) -> NDArray[Any]:
        return np.stack([preprocess(read_image(paths[chosen[position]])) for position in positions])

    return inspect(read, len(chosen), wanted, source)


def summarize(result: Int8Result) -> str:
    """What came of it, in a few lines."""
    lines = [
        f"INT8: {result.layers - len(result.kept_float)} of {result.layers} layers; "
        f"{result.drop:.2f} % of {result.parity.samples} answers changed; "
        f"SQNR {result.parity.sqnr_db or float('inf'):.1f} dB" + ("; recovered" if result.recovered else "")
    ]
    lines += [f"  {name} stays float: {reason}" for name, reason in result.kept_float.items()]
    return "\n".join(lines)


def describe(result: Int8Result) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "sha256": result.artifact.sha256,
        "layers": result.layers,
        "kept_float": dict(result.kept_float),
        "recovered": result.recovered,
        "changed_percent": result.drop,
        "parity": encode(result.parity),
        "ranges": {
            choice.value: {"method": choice.method, "low": choice.range.low, "high": choice.range.high}
            for choice in result.choices
        },
    }
