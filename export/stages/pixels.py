"""The last change before a model is shipped to take pixels, and its proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ...calibration.passes.uint8_input import with_uint8_input
from ...runtime.bundle.accuracy import Accuracy
from ...runtime.errors import AccuracyError
from .feed import Feed
from .parity import Reference, measure, prove, torch_answers
from .publish import Proven


def pixel_reference(
    network: nn.Module, feed: Feed, reference: Reference, shown: NDArray[np.uint8]
) -> Reference:
    """PyTorch's answers to the same pictures, as models that take pixels are shown them."""
    if feed.served is None or feed.served.source is None:
        return replace(reference, inputs=shown, tensors=reference.inputs)
    tensors = feed.resized(shown)
    outputs = torch_answers(network, tensors)
    return Reference(shown, outputs, reference.program, tensors)


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
        wanted=f"top-1 drops by at most {max_drop:g} points",
        got=f"{accuracy.drop:.2f} points "
        f"(95 % interval {low:.2f} to {high:.2f}, {accuracy.samples} pictures)",
        todo="leave --resize device out, or allow more with --max-drop",
    )


def take_pixels(proven: Mapping[str, Proven], feed: Feed, reference: Reference) -> dict[str, Proven]:
    """The same precisions for pixels, each proven anew. INT8 is measured, and the verdict judges it."""
    if feed.trained is None or feed.served is None:
        raise AssertionError("served_preprocess refuses tensors")
    shipped = {}
    for name, entry in proven.items():
        model = with_uint8_input(entry.artifact.model, feed.trained, feed.served)
        artifact = entry.artifact.derive(model, "uint8-input", entry.artifact.precision)
        parity = (measure if name == "int8" else prove)(artifact, reference)
        shipped[name] = replace(entry, artifact=artifact, parity=parity)
    return shipped
