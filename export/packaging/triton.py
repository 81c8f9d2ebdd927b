"""A bundle as a model repository of NVIDIA's Triton Inference Server, for its ONNX Runtime backend.

    REPOSITORY/NAME/config.pbtxt   1/model.onnx   labels.txt   warmup/input

The configuration is a `ModelConfig` of Triton's model_config.proto in protobuf's text form. TensorRT is asked
for as ONNX Runtime's accelerator, without a precision: the graph's own types say it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import HASH, Manifest
from ...runtime.errors import InputError
from ...runtime.files import ensure_can_publish, publish_folder
from ...runtime.providers.registry import PROVIDERS
from ...runtime.records import encode
from ...runtime.tasks.outputs import OutputSpec, TensorSpec

TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "uint8": "TYPE_UINT8", "int64": "TYPE_INT64"}
NAME = re.compile(r"[A-Za-z0-9_.-]+")
FILES = {"config.pbtxt", "1", "labels.txt", "warmup"}
LABELS, WARM_UP = "labels.txt", "input"
DELAY_MICROSECONDS = 1000
WORKSPACE_BYTES = 1 << 30


@dataclass(frozen=True)
class TritonRequest:
    """What `edgeproof package --triton` is asked for.

    Attributes:
        repository: folder of the model repository; the model's own folder is made in it.
        precision: of the bundle's models; None for the one that its verdict ships.
        max_batch: largest batch that is put together of waiting requests.
        force: whether a model of the same name that is there is replaced.
    """

    repository: Path
    precision: str | None = None
    max_batch: int = 8
    force: bool = False


def write_repository(bundle: Bundle, request: TritonRequest) -> Path:
    """Write a bundle's model with its configuration, whole or not at all.

    Returns:
        The model's folder.

    Raises:
        InputError: the name, the precision or the place cannot be used.
    """
    manifest = bundle.manifest
    if not NAME.fullmatch(manifest.name):
        raise InputError(
            f"Triton cannot serve a model named {manifest.name!r}.",
            wanted="letters, digits, _ . and -",
            todo="export it again with another --out",
        )
    precision = request.precision or manifest.verdict.ship
    model = bundle.model_bytes(precision)
    folder = request.repository / manifest.name
    ensure_can_publish(folder, force=request.force, replaceable=_is_model, what="a model for Triton")
    request.repository.mkdir(parents=True, exist_ok=True)
    with publish_folder(folder) as draft:
        (draft / "1").mkdir()
        (draft / "1" / "model.onnx").write_bytes(model)
        (draft / "warmup").mkdir()
        warm_up = np.ascontiguousarray(bundle.golden().input[:1])
        (draft / "warmup" / WARM_UP).write_bytes(warm_up.tobytes())
        if _ranked(bundle):
            (draft / LABELS).write_text("".join(f"{label}\n" for label in manifest.labels), encoding="utf-8")
        (draft / "config.pbtxt").write_text(config(bundle, precision, request.max_batch), encoding="utf-8")
    return folder


def config(bundle: Bundle, precision: str, max_batch: int) -> str:
    """config.pbtxt of one precision.

    Args:
        bundle: the bundle.
        precision: which of its models.
        max_batch: largest batch, where the model takes any.
    """
    manifest = bundle.manifest
    batched = not isinstance(manifest.input.shape[0], int)
    lines = [
        f"name: {_text(manifest.name)}",
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch if batched else 0}",
        *_tensor("input", manifest.input, batched),
    ]
    for number, output in enumerate(manifest.outputs):
        labels = _ranked(bundle) and number == 0
        lines += _tensor("output", output, batched, label_file=LABELS if labels else "")
    if batched:
        lines.append(f"dynamic_batching {{ max_queue_delay_microseconds: {DELAY_MICROSECONDS} }}")
    lines += _placed(manifest, precision)
    lines += _warm_up(manifest, batched)
    for key, value in _parameters(manifest, precision).items():
        lines.append(f"parameters {{ key: {_text(key)} value {{ string_value: {_text(value)} }} }}")
    return "\n".join(lines) + "\n"


def _placed(manifest: Manifest, precision: str) -> list[str]:
    """On a GPU with TensorRT, but for an INT8 model that was made for the CPU."""
    made_for = PROVIDERS.get((manifest.target or "").partition("-")[0])
    if precision == "int8" and made_for is not None and not made_for.compiles:
        return ["instance_group { kind: KIND_CPU }"]
    options = {
        "max_workspace_size_bytes": str(WORKSPACE_BYTES),
        "trt_engine_cache_enable": "true",
        "trt_engine_cache_path": f"/tmp/triton-engines/{manifest.name}-{precision}",  # noqa: S108
    }
    shown = " ".join(f"parameters {{ key: {_text(k)} value: {_text(v)} }}" for k, v in options.items())
    accelerator = f'gpu_execution_accelerator {{ name: "tensorrt" {shown} }}'
    return [
        "instance_group { kind: KIND_GPU }",
        f"optimization {{ execution_accelerators {{ {accelerator} }} }}",
    ]


def _warm_up(manifest: Manifest, batched: bool) -> list[str]:
    """A recorded input before the first request: it compiles the engine."""
    dims = ", ".join(map(str, _dims(manifest.input, batched)))
    data = f"data_type: {TYPES[manifest.input.dtype]} dims: [ {dims} ] input_data_file: {_text(WARM_UP)}"
    given = f"inputs {{ key: {_text(manifest.input.name)} value {{ {data} }} }}"
    return [f'model_warmup {{ name: "recorded" batch_size: 1 {given} }}']


def _parameters(manifest: Manifest, precision: str) -> dict[str, str]:
    """What a client needs: how inputs are made of pictures, and what the answers mean."""
    return {
        "edgeproof.bundle_sha256": json.loads(manifest.to_json())[HASH],
        "edgeproof.precision": precision,
        "edgeproof.preprocess": json.dumps(encode(manifest.preprocess)),
        "edgeproof.task": json.dumps(encode(manifest.task)),
    }


def _tensor(kind: str, spec: TensorSpec, batched: bool, label_file: str = "") -> Iterator[str]:
    dims = ", ".join(map(str, _dims(spec, batched)))
    labels = f" label_filename: {_text(label_file)}" if label_file else ""
    yield f"{kind} {{ name: {_text(spec.name)} data_type: {TYPES[spec.dtype]} dims: [ {dims} ]{labels} }}"


def _dims(spec: TensorSpec, batched: bool) -> list[int]:
    """Sides, without the batch where Triton adds it; -1 for one that may vary."""
    sides = spec.shape[1:] if batched else spec.shape
    return [side if isinstance(side, int) else -1 for side in sides]


def _ranked(bundle: Bundle) -> bool:
    """Whether the first output holds a score for each label."""
    outputs: tuple[OutputSpec, ...] = bundle.manifest.outputs
    return bool(bundle.manifest.labels) and bundle.task.ranks(outputs)


def _is_model(folder: Path) -> bool:
    names = {entry.name for entry in folder.iterdir()}
    return "config.pbtxt" in names and names <= FILES


def _text(value: str) -> str:
    """A string in protobuf's text form: JSON's escapes of ASCII are among its own."""
    return json.dumps(value)
