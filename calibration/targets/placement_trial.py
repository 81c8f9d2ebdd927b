"""The placement of Q/DQ pairs around gates that suits a network, found by trying each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx

from ..dataset.accuracy_drop import OutputSqnr
from ..dataset.load import CalibrationInputs
from ..passes.float_rest import Mixed
from ..preflight.check import PreflightRequest, is_installed, preflight
from ..progress import Progress
from ..qdq.placement import NO_CHOICE, PlacementChoice, Tried, choose, placements
from ..qdq.quantized_inputs import Placement
from ..recovery.mixed_precision import QuantizationPlan, least_error_plans


def choose_placement(
    inputs: CalibrationInputs, write: Callable[[QuantizationPlan], Mixed], progress: Progress
) -> tuple[Placement, PlacementChoice]:
    """Try each placement with ranges alone, and take what `choose` takes.

    A part of the calibration inputs, drawn by seed, is held back: it judges, and the others give the ranges.

    Args:
        inputs: a float32 model and its calibration inputs.
        write: gives the INT8 model of a placement.
        progress: shows what goes on.

    Raises:
        ModelError: the model cannot be quantized.
        DataError: a value is NaN or Inf on the calibration inputs.
    """
    artifact, samples = inputs.artifact, inputs.samples
    options = placements(artifact.model)
    if len(options) == 1:
        return options[0], NO_CHOICE
    if len(samples) < 2:
        return options[0], PlacementChoice(options[0].name, "one input is too little to compare with")
    judging, fitting = samples.hold_back()
    plans = least_error_plans(artifact, fitting, progress, options)
    evaluation = OutputSqnr(artifact.model, judging)
    request = PreflightRequest(sides=samples.sample(1).shape[1:])
    tried = [
        _try(plan, write(plan).model, evaluation, request)
        for plan in progress.track(plans, len(plans), "placing pairs around gates")
    ]
    chosen = choose(tried)
    return next(option for option in options if option.name == chosen.name), chosen


def _try(
    plan: QuantizationPlan, model: onnx.ModelProto, evaluation: OutputSqnr, request: PreflightRequest
) -> Tried:
    tried = Tried(plan.placement.name, evaluation.sqnr_db(model))
    if not is_installed():
        return tried
    built = preflight(model.SerializeToString(deterministic=True), request)
    if not built:
        return replace(tried, accepted=False)
    capability = built.capabilities[0]
    return replace(
        tried,
        accepted=True,
        engine_bytes=built.engine_bytes[capability],
        layers=built.layers[capability],
        int8_layers=built.int8_layers[capability],
    )
