"""The first stage: what is exported, with its weights, its data, and how its inputs are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ...calibration.passes.uint8_request import served_preprocess
from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import DataError, WeightsError
from ...runtime.files import sha256_file
from ...runtime.tasks.base import Task
from ...runtime.tasks.classification import Classification
from ...runtime.tasks.registry import described, infer_task, parse_task
from ..data import catalog
from ..data.dataset import Dataset
from ..models.spec import ModelSpec, Variant
from ..models.wrapped import task_of
from ..pretrained.weights import (
    Trained,
    WeightsRecord,
    from_demo,
    from_factory,
    from_file,
    from_imagenet,
    from_module,
    from_random,
)
from ..request import ExportRequest
from ..sources.onnx_file import OnnxOrigin, is_onnx_file
from ..sources.origin import Origin
from ..sources.resolve import ResolvedRequest, check_data, check_preprocess, resolve
from .feed import Feed
from .torch_onnx import TorchOrigin

FROM_ELSEWHERE = ("file", "factory", "module")
SUGGESTING = 2  # samples whose answers suggest the task of an ONNX file


@dataclass(frozen=True)
class ExportSource:
    """What is exported, its data, and how its inputs are prepared.

    Attributes:
        architecture: its name in the manifest.
        form: which variant of it; "file" for an ONNX file.
        weights: where they came from.
        labels: the name of each class: the weights' own where they have names, else the data set's.
        data: the samples.
        feed: how they become inputs.
        task: what the answers mean.
        origin: gives the reference's answers, and the first ONNX model.
        warnings: what a person should know of it.
    """

    architecture: str
    form: str
    weights: WeightsRecord
    labels: tuple[str, ...]
    data: Dataset
    feed: Feed
    task: Task
    origin: Origin
    warnings: tuple[str, ...] = ()


def load_source(request: ExportRequest, progress: Progress) -> ExportSource:
    """Find what a request names, load or train the weights, and see that all fits together.

    The preprocessing is the request's own; else that of the weights; else the data set's.

    Raises:
        InputError: something is unknown, absent, or does not fit.
    """
    task = parse_task(request.task) if isinstance(request.task, str) else request.task
    if is_onnx_file(request.model):
        return _from_onnx(request, task, progress)
    return _from_torch(request, task, progress)


def _from_onnx(request: ExportRequest, task: Task | None, progress: Progress) -> ExportSource:
    path = Path(str(request.model)).expanduser()
    for option, value in (("--weights", request.weights), ("--form", request.variant)):
        if value is not None:
            raise WeightsError(
                f"{path.name} is trained and complete: {option} {value} cannot change it.",
                todo=f"leave {option} out",
            )
    origin = OnnxOrigin(path, request.input_shape)
    if request.data is None:
        raise DataError(
            "An ONNX file has no data set of its own.",
            wanted="samples that calibrate and judge it",
            available=", ".join(catalog.NAMES),
            todo="--data imagefolder:DIR, or another of these",
        )
    name = task.name if task else Classification.name
    data = request.data if isinstance(request.data, Dataset) else catalog.find(request.data, name)
    shape = origin.input_shape
    preprocess = request.preprocess or data.preprocess(shape)
    variant = Variant("file", shape, nn.Identity)
    check_data(ModelSpec(path.name, "file", variant, data=()), variant, data)
    check_preprocess(variant, preprocess)
    feed = _feed(request, preprocess)
    if task is None:
        some = data.evaluation.take(range(min(SUGGESTING, len(data.evaluation))))
        task = infer_task(origin.answers(feed.both(some)[0]))
        progress.note(f"judged as {described(task)}, which the outputs suggest (--task changes that)")
    task = task.for_input(shape)
    record = WeightsRecord("file", sha256_file(path), {"file": path.name})
    warnings = () if request.preprocess else _assumed(record, data, preprocess, progress)
    return ExportSource(path.stem, variant.name, record, data.labels, data, feed, task, origin, warnings)


def _from_torch(request: ExportRequest, task: Task | None, progress: Progress) -> ExportSource:
    standard = "standard" if request.weights == "imagenet" else None
    found = resolve(
        request.model,
        request.data,
        request.variant or standard,
        request.options,
        request.input_shape,
        request.preprocess,
        task.name if task else None,
    )
    usual = request.preprocess or found.data.preprocess(found.variant.input_shape)
    trained = _load(request, found, usual, progress)
    known = request.preprocess or trained.preprocess
    preprocess = known or usual
    check_preprocess(found.variant, preprocess)
    return ExportSource(
        architecture=found.spec.name,
        form=found.variant.name,
        weights=trained.record,
        labels=trained.labels or found.data.labels,
        data=found.data,
        feed=_feed(request, preprocess),
        task=(task or task_of(trained.network, found.variant.input_shape)).for_input(
            found.variant.input_shape
        ),
        origin=TorchOrigin(trained.network),
        warnings=() if known else _assumed(trained.record, found.data, preprocess, progress),
    )


def _assumed(
    record: WeightsRecord, data: Dataset, preprocess: Preprocess | None, progress: Progress
) -> tuple[str, ...]:
    """A warning that nothing says how weights from elsewhere were trained, where pictures are large."""
    if preprocess is None or data.small or record.source not in FROM_ELSEWHERE:
        return ()
    warning = (
        "nothing says how the training prepared its pictures: "
        f"resize {preprocess.resize}, crop {preprocess.crop}, {preprocess.color}, mean {preprocess.mean} and "
        f"std {preprocess.std} are assumed; if it did otherwise, the answers here are not those of the "
        "training: --preprocess FILE.json"
    )
    progress.note(f"warning: {warning}")
    return (warning,)


def _feed(request: ExportRequest, preprocess: Preprocess | None) -> Feed:
    served = served_preprocess(request.uint8, preprocess) if request.uint8 else preprocess
    return Feed(preprocess, served)


def _load(
    request: ExportRequest, found: ResolvedRequest, preprocess: Preprocess | None, progress: Progress
) -> Trained:
    spec, variant, data = found.spec, found.variant, found.data
    if isinstance(request.model, nn.Module):
        if request.weights is not None:
            raise WeightsError(
                "A network that is given as a module has its weights already.",
                wanted="no weights beside it",
                got=f"weights {request.weights!r}",
                todo="load them into the network first, or give its factory: package.module:factory",
            )
        return from_module(request.model)
    if spec.own_weights:
        if request.weights is not None:
            raise WeightsError(f"{spec.name} has its weights already.", todo="leave --weights out")
        return from_module(variant.build(len(data.labels)))
    match request.weights or "demo":
        case "demo":
            return from_demo(spec, variant, data, preprocess, progress)
        case "imagenet":
            return from_imagenet(spec, variant)
        case "random":
            return from_random(variant, data, preprocess)
        case "factory":
            return from_factory(variant, len(data.labels))
        case file:
            own = spec.preprocess if variant.name == "standard" else None
            return from_file(variant, Path(file).expanduser(), len(data.labels), own)
