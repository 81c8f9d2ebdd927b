"""Models that take pixels: normalization moves into the graph, and each is proven again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...calibration.passes.uint8_input import with_uint8_input
from ...runtime.bundle.accuracy import Accuracy
from ...runtime.errors import AccuracyError
from .feed import Feed
from .parity import PrecisionResult, Reference, measure, prove
from .source import ExportSource


def pixel_reference(source: ExportSource, reference: Reference, served: NDArray[np.uint8]) -> Reference:
    """The origin's answers to the same pictures, as models that take pixels are shown them.

    Args:
        source: the network, and how its inputs and those of the shipped models are prepared.
        reference: PyTorch's answers to its own inputs.
        served: the pictures as the shipped models take them, shape (N, height, width, channels).
    """
    feed = source.feed
    if feed.served is None or feed.served.source is None:
        return replace(reference, inputs=served, tensors=reference.inputs)
    tensors = feed.resized(served)
    outputs = source.origin.answers(tensors)
    return replace(reference, inputs=served, outputs=outputs, tensors=tensors)


def check_resizing(feed: Feed, accuracy: Accuracy, max_drop: float) -> None:
    """Resizing in the graph is not Pillow's, bit for bit: what it costs is held to the budget.

    Raises:
        AccuracyError: the float32 model, which differs in nothing else, loses more.
    """
    if feed.served is None or feed.served.source is None or accuracy.drop <= max_drop:
        return
    low, high = accuracy.ci95
    raise AccuracyError(
        "Resizing in the graph does not keep the answers to pictures that Pillow resized.",
        wanted=f"{accuracy.metric} drops by at most {max_drop:g} points",
        got=f"{accuracy.drop:.2f} points "
        f"(95 % interval {low:.2f} to {high:.2f}, {accuracy.samples} pictures)",
        todo="leave --resize device out, or allow more with --max-drop",
    )


def take_pixels(
    results: Mapping[str, PrecisionResult], feed: Feed, reference: Reference
) -> dict[str, PrecisionResult]:
    """The same precisions for pixels, each proven anew. INT8 is measured, and the verdict decides."""
    if feed.trained is None or feed.served is None:
        raise AssertionError("served_preprocess refuses tensors")
    shipped = {}
    for name, result in results.items():
        model = with_uint8_input(result.artifact.model, feed.trained, feed.served)
        artifact = result.artifact.derive(model, "uint8-input", result.artifact.precision)
        parity = (measure if name == "int8" else prove)(artifact, reference)
        shipped[name] = replace(result, artifact=artifact, parity=parity)
    return shipped
