"""INT8 for ONNX Runtime's CPU provider: affine ranges of least square error."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import onnx

from ..artifact import OnnxArtifact
from ..dataset.accuracy_drop import batches
from ..dataset.load import CalibrationInputs
from ..onnx_graph.graph import float_values
from ..onnx_graph.shapes import input_of
from ..passes.cross_layer_equalization import equalize
from ..passes.float_rest import Mixed, float32_rest
from ..passes.range_search import Choice
from ..progress import Progress
from ..qdq.cpu import quantize_cpu
from ..qdq.placement import PlacementChoice
from ..qdq.quantized_inputs import LAYERS_ONLY, activations, find_quantized_inputs
from ..ranges.integer_format import ACTIVATION_UINT8
from ..ranges.methods import mse_range
from ..ranges.statistics import Range, Statistics, collect_statistics
from ..recovery.mixed_precision import QuantizationPlan, Recovery, equalized_channels
from ..recovery.parameters import QuantizationParams
from .base import Target


class CpuTarget(Target):
    """uint8 with a zero point for activations, and what lies between layers in integers too."""

    name = "cpu"
    compiled = False
    float_share = 0.04  # each layer that stays float costs speed here

    def require_judge(self) -> None:
        """Every ONNX Runtime computes this as it should."""

    def counted(self, model: onnx.ModelProto) -> list[str]:
        """Every float value: integers flow from one operator to the next."""
        return [input_of(model).name, *float_values(model)]

    def plan(self, inputs: CalibrationInputs, statistics: Statistics, progress: Progress) -> CpuPlan:
        """Ranges of least square error; there is one placement.

        What joins several outputs into one was never counted, and stays float.
        """
        names = [name for name in self.counted(inputs.artifact.model) if name in statistics.histograms]
        return CpuPlan(inputs, _least_error(statistics, names), progress)

    def write(
        self, params: QuantizationParams, ranges: Mapping[str, Range], reasons: Mapping[str, str]
    ) -> Mixed:
        """Q/DQ pairs around what ONNX Runtime computes in integers; the rest stays float32."""
        written = quantize_cpu(
            params.source, params.ranges, weight_scales=params.weight_scales, keep_float=params.kept_float
        )
        return float32_rest(written, reasons)


@dataclass(frozen=True)
class CpuPlan:
    """How one network is quantized for the CPU.

    Attributes:
        inputs: the model and its calibration inputs.
        ranges: of every float value.
        progress: shows what goes on.
    """

    inputs: CalibrationInputs
    ranges: Mapping[str, Range]
    progress: Progress
    placement = PlacementChoice(LAYERS_ONLY.name, "the target cpu has one placement")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The ranges, all of least square error."""
        return tuple(Choice(name, "mse", found, {}) for name, found in self.ranges.items())

    def baseline(self) -> QuantizationParams:
        """What the ranges alone give."""
        return QuantizationParams(self.inputs.artifact.model, self.ranges)

    def recovery_plan(self) -> QuantizationPlan:
        """The network with its channels equalized; affine ranges as symmetric ones around an offset."""
        even, ranges = self._equalized
        sites = find_quantized_inputs(even.model)
        offsets = {name: (ranges[name].low + ranges[name].high) / 2 for name in activations(sites)}
        around = {name: Range(ranges[name].low - at, ranges[name].high - at) for name, at in offsets.items()}
        return QuantizationPlan(even, sites, around, offsets, {})

    def recovered(self, recovery: Recovery) -> QuantizationParams:
        """The re-fitted weights, with the affine ranges."""
        _, ranges = self._equalized
        found = recovery.student.recovered()
        return QuantizationParams(found.model, ranges, found.weight_scales, recovery.kept_float)

    @cached_property
    def _equalized(self) -> tuple[OnnxArtifact, Mapping[str, Range]]:
        """The model with its channels equalized, and the ranges of its values then."""
        artifact, samples = self.inputs.artifact, self.inputs.samples
        sites = find_quantized_inputs(artifact.model)
        channels = equalized_channels(artifact, sites, samples, self.progress)
        even = equalize(artifact.model, {name: found.maxima for name, found in channels.items()})
        if even is artifact.model:
            return artifact, self.ranges
        shown = batches(even, samples, self.progress, "calibrating")
        statistics = collect_statistics(even, shown, list(self.ranges))
        return artifact.derive(even, "equalize", "fp32"), _least_error(statistics, self.ranges)


def _least_error(statistics: Statistics, names: Collection[str]) -> dict[str, Range]:
    return {name: mse_range(statistics.histograms[name], ACTIVATION_UINT8) for name in names}
