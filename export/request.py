"""What `edgeproof export` and `export_bundle` are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from ..calibration.passes.uint8_request import Uint8Request
from ..calibration.targets.base import as_recover
from ..calibration.targets.registry import find_target
from ..runtime.bundle.bundle import is_bundle
from ..runtime.bundle.manifest import PRECISIONS
from ..runtime.bundle.preprocess import Preprocess
from ..runtime.errors import InputError
from ..runtime.files import ensure_can_publish
from ..runtime.tasks.base import Task
from .data.dataset import Dataset
from .models.spec import InputShape


@dataclass(frozen=True)
class ExportRequest:
    """What an export is asked for. The options of `edgeproof export` are the same requests.

    Attributes:
        model: registry name, torchvision name, `package.module:factory`, `file.py:factory`, an ONNX file, or
            a network: a `torch.nn.Module` on the CPU, in evaluation mode, with float32 weights. It is left
            as it is.
        out: folder of the bundle.
        weights: "demo", "imagenet", "random", "factory", or a file; None for a network's own, and for "demo"
            where `model` is a name.
        data: name of a data set, `imagefolder:DIR`, or a `Dataset`, such as `array_dataset` makes; None for
            the architecture's own.
        variant: "standard" or "small" (the option `--form`); None for the one that suits the data.
        options: hyper-parameters of the architecture, as typed.
        precisions: any of fp32, fp16, int8; fp32 always, because the others are compared with it.
        input_shape: (channels, height, width) instead of the variant's own; None for that.
        preprocess: instead of that of the weights or the data set; None for that.
        task: what the answers mean, such as "segmentation" or "detection:yolov8,min_score=0.3", or a `Task`;
            None for the architecture's own, for what an ONNX file's outputs suggest, else classification.
        max_drop: largest drop of the task's metric, in percentage points, at which INT8 is shipped.
        target: what INT8 is made for: "tensorrt" (float16 where INT8 is not), "tensorrt-fp32" or "cpu".
        recover: "auto" recovers accuracy lost to INT8, where that helps; "off" takes the ranges alone.
        max_float: share of INT8's layers, 0..1, that may stay float for that.
        evaluation: largest number of samples on which accuracy is measured.
        uint8: asks for models that take pixels; None for models that take what the network takes.
        force: whether a bundle at `out` may be replaced.
    """

    model: str | nn.Module
    out: Path | str
    weights: str | None = None
    data: str | Dataset | None = None
    variant: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    precisions: tuple[str, ...] = PRECISIONS
    input_shape: InputShape | None = None
    preprocess: Preprocess | None = None
    task: Task | str | None = None
    max_drop: float = 1.0
    target: str = "tensorrt"
    recover: str = "auto"
    max_float: float = 0.5
    evaluation: int = 2000
    uint8: Uint8Request | None = None
    force: bool = False


def check_request(request: ExportRequest) -> None:
    """Refuse what cannot succeed before minutes are spent on it.

    Raises:
        InputError: an unknown target, precision or recovery, or an output that cannot be written.
    """
    as_recover(request.recover)
    target = find_target(request.target)
    if "int8" in request.precisions:
        target.require_judge()
    unknown = [name for name in request.precisions if name not in PRECISIONS]
    if unknown or "fp32" not in request.precisions:
        raise InputError(
            "These precisions cannot be exported.",
            wanted="fp32, with which the others are compared, and any of fp16 and int8",
            got=",".join(request.precisions),
            todo="--precision fp32,fp16,int8",
        )
    ensure_can_publish(
        Path(request.out), force=request.force, replaceable=is_bundle, what="an edgeproof bundle"
    )
