"""From a trained model to a proven bundle: every stage, its proof, then one atomic publication."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..calibration.dataset.load import CalibrationInputs, normal_form, prove_same
from ..calibration.progress import Progress
from ..runtime.bundle.bundle import Bundle
from .report.render import render
from .request import ExportRequest, check_request
from .stages.accuracy import SampleDigest, evaluate
from .stages.evidence import depth_errors, gather, summarize
from .stages.lower import lower
from .stages.parity import PrecisionResult, Reference, prove
from .stages.pixels import check_resizing, pixel_reference, take_pixels
from .stages.preflight import check_compiler
from .stages.publish import ExportResult, publish
from .stages.samples import prepare_samples
from .stages.simplify import simplify
from .stages.source import load_source
from .stages.verdict import decide


def export_bundle(request: ExportRequest, progress: Progress | None = None) -> Bundle:
    """Carry a model through every stage and publish the bundle.

    Args:
        request: the model, its data, and what is wanted of it.
        progress: shows on stderr what goes on; None for silence.

    Raises:
        InputError: the request, the weights, the data or the output cannot be used.
        ProofError: a stage's proof failed; nothing is published.
    """
    progress = progress or Progress(quiet=True)
    check_request(request)
    with progress.stage("weights"):
        source = load_source(request, progress)
    with progress.stage("samples"):
        samples = prepare_samples(source)
    with progress.stage("export"):
        exported = source.origin.first_model(samples.inputs)
    reference = Reference(samples.inputs, samples.outputs, source.origin, source.task)
    with progress.stage("parity"):
        prove(exported, reference)
    with progress.stage("simplify"):
        simplified = simplify(exported)
        results = {"fp32": PrecisionResult(simplified, prove(simplified, reference))}
    with progress.stage("normalize"):
        normal = normal_form(simplified)
        prove_same(simplified, normal, samples.calibration)
    inputs = CalibrationInputs(normal, samples.calibration, task=source.task, truths=samples.truths)
    results |= lower(request, inputs, reference, progress)
    ancestors = (exported, simplified, normal)
    if request.uint8:
        ancestors += tuple(result.artifact for result in results.values())
        reference = pixel_reference(source, reference, samples.served)
        with progress.stage("uint8-input"):
            results = take_pixels(results, source.feed, reference)
    results = check_compiler(results, request.target, progress)
    with progress.stage("accuracy"):
        evaluation = evaluate(source, results, request.evaluation, progress)
    check_resizing(source.feed, evaluation.accuracy["fp32"], request.max_drop)
    with progress.stage("depth"):
        depth = depth_errors(results, reference)
    verdict = decide(results, evaluation.accuracy, request.max_drop, evaluation.chance)
    outcome = ExportResult(
        source=source,
        results=results,
        reference=reference,
        pictures=samples.pictures,
        calibration=SampleDigest(len(samples.calibration), samples.calibration.sha256),
        evaluation=evaluation,
        ancestors=ancestors,
        evidence=gather(summarize(request, source.task, samples, evaluation.digest), results, depth),
        verdict=replace(verdict, warnings=(*source.warnings, *verdict.warnings)),
    )
    with progress.stage("bundle"):
        return publish(Path(request.out), outcome, dict(progress.seconds), render)
