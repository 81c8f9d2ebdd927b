"""Factors and offsets written into a float model, so that recovery and ranges find room for them there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import batches
from ..dataset.calibration_set import CalibrationSet
from ..passes.activation_shift import find_subtracted, with_offsets
from ..passes.channel_factors import with_channel_factors
from ..passes.smoothing import smooth
from ..progress import Progress
from ..qdq.placement import activations_of_all
from ..qdq.quantized_inputs import find_quantized_inputs
from ..ranges.histogram import Histogram
from ..ranges.statistics import collect_statistics


def with_constants(
    artifact: OnnxArtifact,
    samples: CalibrationSet,
    progress: Progress,
    known: Mapping[str, Histogram] | None = None,
) -> tuple[OnnxArtifact, Mapping[str, Histogram]]:
    """The model with its activations smoothed, and with factors of one and offsets of zero to be filled in.

    Args:
        artifact: a float32 model.
        samples: calibration inputs.
        progress: shows what goes on.
        known: histograms of the model as it is, where there are any.

    Returns:
        The model, which computes the same, and the histogram of each value that any placement rounds.

    Raises:
        DataError: a value is NaN or Inf on the inputs.
    """
    model = artifact.model
    shown = batches(model, samples, progress, "smoothing")
    scaled = with_channel_factors(smooth(model, find_quantized_inputs(model), shown))
    histograms = known if scaled is model else None
    if histograms is None:
        shown = batches(scaled, samples, progress, "calibrating")
        histograms = collect_statistics(scaled, shown, activations_of_all(scaled)).histograms
    moved = with_offsets(scaled, histograms)
    behind = {node.output[0]: histograms[node.input[0]] for node in find_subtracted(moved)}
    return replace(artifact, model=moved), {**histograms, **behind}
