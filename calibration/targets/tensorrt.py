"""INT8 for TensorRT: symmetric ranges, chosen by their effect on the answers; Q/DQ pairs placed by trial.

Channels are equalized and values moved where that is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from ...runtime.session.session import load_onnxruntime
from ..dataset.load import CalibrationInputs
from ..passes.float_rest import Mixed, float16_rest, float32_rest, require_rounding
from ..passes.pointwise import without_neutral_constants
from ..passes.range_search import Choice
from ..progress import Progress
from ..qdq.placement import PlacementChoice, activations_of_all
from ..qdq.quantized_inputs import find_quantized_inputs
from ..qdq.tensorrt import quantize_tensorrt
from ..ranges.statistics import Range, Statistics
from ..recovery.channel_constants import with_constants
from ..recovery.mixed_precision import QuantizationPlan, Recovery
from ..recovery.parameters import QuantizationParams, baseline, recovered
from .base import Target
from .placement_trial import choose_placement
from .tensorrt_ranges import choose_plan


class TensorRTTarget(Target):
    """Q/DQ pairs around float16 operators: the graph itself says every precision."""

    name = "tensorrt"
    compiled = True
    float_share = 0.06

    def require_judge(self) -> None:
        """ONNX Runtime must round float16 beside Q/DQ pairs, as TensorRT does."""
        require_rounding(load_onnxruntime().__version__)

    def counted(self, model: onnx.ModelProto) -> list[str]:
        """The activations that any placement quantizes."""
        return activations_of_all(model)

    def plan(self, inputs: CalibrationInputs, statistics: Statistics, progress: Progress) -> TensorRTPlan:
        """The placement by trial, then the ranges by their effect on the answers."""

        def write(plan: QuantizationPlan) -> Mixed:
            return self.write(baseline(plan), statistics.ranges, {})

        artifact, histograms = with_constants(
            inputs.artifact, inputs.samples, progress, statistics.histograms
        )
        inputs = replace(inputs, artifact=artifact)
        placement, chosen = choose_placement(inputs, write, progress)
        quantization, choices = choose_plan(inputs, histograms, placement, progress)
        return TensorRTPlan(quantization, choices, chosen)

    def plan_given(self, inputs: CalibrationInputs, ranges: Mapping[str, Range]) -> QuantizationParams:
        """The ranges as they are: nothing is equalized or moved."""
        return QuantizationParams(inputs.artifact.model, ranges)

    def write(
        self, params: QuantizationParams, ranges: Mapping[str, Range], reasons: Mapping[str, str]
    ) -> Mixed:
        """Q/DQ pairs; what INT8 leaves float becomes float16, but for what float16 cannot hold."""
        return float16_rest(_write(params), ranges, reasons)


class Float32TensorRTTarget(TensorRTTarget):
    """The same with float32 operators beside the Q/DQ pairs."""

    name = "tensorrt-fp32"

    def require_judge(self) -> None:
        """Every ONNX Runtime computes float32 beside Q/DQ pairs as it should."""

    def write(
        self, params: QuantizationParams, ranges: Mapping[str, Range], reasons: Mapping[str, str]
    ) -> Mixed:
        """Q/DQ pairs; what INT8 leaves float stays float32."""
        return float32_rest(_write(params), reasons)


@dataclass(frozen=True)
class TensorRTPlan:
    """How one network is quantized for TensorRT.

    Attributes:
        quantization: ranges, offsets and channel limits.
        choices: of the activations' ranges.
        placement: how it was chosen.
    """

    quantization: QuantizationPlan
    choices: tuple[Choice, ...]
    placement: PlacementChoice

    def baseline(self) -> QuantizationParams:
        """What the ranges alone give, with channels equalized and values moved."""
        return baseline(self.quantization)

    def recovery_plan(self) -> QuantizationPlan:
        """The same ranges, offsets and limits."""
        return self.quantization

    def recovered(self, recovery: Recovery) -> QuantizationParams:
        """What a recovered graph gives."""
        return recovered(self.quantization, recovery.student, recovery.kept_float)


def _write(params: QuantizationParams) -> onnx.ModelProto:
    params = replace(params, source=without_neutral_constants(params.source))
    sites = find_quantized_inputs(params.source, params.kept_float, params.placement)
    quantized = {site.value for site in sites if site.axis is not None}
    scales = {name: scale for name, scale in params.weight_scales.items() if name in quantized}
    return quantize_tensorrt(
        params.source,
        params.ranges,
        weight_scales=scales,
        keep_float=params.kept_float,
        placement=params.placement,
    )
