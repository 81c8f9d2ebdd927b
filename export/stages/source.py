"""The first stage: the network with its weights, its data, and how its inputs are prepared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from ...calibration.passes.uint8_request import served_preprocess
from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.errors import WeightsError
from ..data.dataset import Dataset
from ..models.spec import ModelSpec, Variant
from ..pretrained.weights import (
    Trained,
    from_demo,
    from_factory,
    from_file,
    from_imagenet,
    from_module,
    from_random,
)
from ..request import ExportRequest
from ..sources.resolve import ResolvedRequest, check_preprocess, resolve
from .feed import Feed


@dataclass(frozen=True)
class ExportSource:
    """What is exported: a trained network, its data, and how its inputs are prepared."""

    spec: ModelSpec
    variant: Variant
    trained: Trained
    data: Dataset
    feed: Feed

    @property
    def network(self) -> nn.Module:
        """The network, in evaluation mode."""
        return self.trained.network

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class: the weights' own where they have names, else the data set's."""
        return self.trained.labels or self.data.labels


def load_source(request: ExportRequest, progress: Progress) -> ExportSource:
    """Find what a request names, load or train the weights, and see that all fits together.

    The preprocessing is the request's own; else that of the weights; else the data set's.

    Raises:
        InputError: something is unknown, absent, or does not fit.
    """
    standard = "standard" if request.weights == "imagenet" else None
    found = resolve(
        request.model,
        request.data,
        request.variant or standard,
        request.options,
        request.input_shape,
        request.preprocess,
    )
    usual = request.preprocess or found.data.preprocess(found.variant.input_shape)
    trained = _load(request, found, usual, progress)
    preprocess = request.preprocess or trained.preprocess or usual
    check_preprocess(found.variant, preprocess)
    served = served_preprocess(request.uint8, preprocess) if request.uint8 else preprocess
    return ExportSource(found.spec, found.variant, trained, found.data, Feed(preprocess, served))


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
            return from_file(variant, Path(file).expanduser(), len(data.labels))
