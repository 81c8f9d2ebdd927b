"""Take networks that others exported through every step, and write what came out.

    python benchmarks/foreign.py [--folder DIR] [--write FILE.md] [MODEL]

Each is brought to its normal form, converted to FP16 and to INT8 for both targets, compared with itself as
it came on inputs that did not calibrate it, and compiled for TensorRT in the graph that ONNX Runtime hands
over. What cannot be done is named by the error that a user would see. FILE.md keeps its rows of networks that
are not tried this time. --folder holds PaddleOCR's text_detection.onnx and text_recognition.onnx.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

import foreign_models
import growing_table
import numpy as np
import onnx
from numpy.typing import NDArray
from page import written

from edgeproof.calibration import Int8Request, QuantizeRequest, quantize
from edgeproof.calibration.dataset.accuracy_drop import AccuracyDrop, Judged
from edgeproof.calibration.dataset.load import CalibrationInputs, read_inputs
from edgeproof.calibration.passes.fp16 import convert_to_fp16
from edgeproof.calibration.preflight.check import preflight
from edgeproof.calibration.preflight.handed_over import preflight_handed_over
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.targets.registry import find_target
from edgeproof.runtime.errors import EdgeproofError
from edgeproof.runtime.tasks.registry import parse_task

MEASURED = Int8Request(max_drop=100.0)  # whatever INT8 costs is written down
TARGETS = ("tensorrt", "cpu")
COLUMNS = (
    "network", "weights", "opset", "nodes as it came / normal form", "metric", "FP16", "INT8 for TensorRT",
    "INT8 for the CPU", "TensorRT's compiler accepts FP32 / FP16 / INT8", "s", "all the way", "on",
)  # fmt: skip


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="PaddleOCR's two networks")
    parser.add_argument("--write", type=Path, metavar="FILE.md")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="only these")
    options = parser.parse_args()
    rows = growing_table.rows_in(options.write, COLUMNS)
    known = list(foreign_models.all_models(options.folder))
    order = [foreign.name for foreign in known]
    for foreign in known:
        if not options.models or foreign.name in options.models:
            rows[foreign.name] = [*tried(foreign), date.today().isoformat()]
            print(" | ".join([foreign.name, *rows[foreign.name]]), file=sys.stderr, flush=True)
            if options.write:
                options.write.write_text(render(rows, order), encoding="utf-8")
    print(render(rows, order))


def tried(foreign: foreign_models.Foreign) -> list[str]:
    """Everything with one network: what the table says of it, but for its name and the date."""
    start, model = time.perf_counter(), foreign.load()
    told = [foreign.weights, str(model.opset_import[0].version)]
    task = parse_task(foreign.task) if foreign.task else None
    samples = foreign.inputs(foreign.count)
    try:
        inputs = read_inputs(model, samples, None, Progress(quiet=True), task=task, shape=foreign.shape)
    except EdgeproofError as error:
        return [*told, said(error), *[""] * (len(COLUMNS) - 6), "no"]
    half, problem = attempted(lambda: fp16(inputs))
    integer = {
        target: attempted(lambda target=target: int8(foreign, model, samples, target)) for target in TARGETS
    }
    models = [inputs.artifact.model, half and half[0], integer["tensorrt"][0] and integer["tensorrt"][0][0]]
    complete = not problem and not any(why for _, why in integer.values())
    return [
        *told,
        f"{len(model.graph.node)} / {len(inputs.artifact.model.graph.node)}",
        half[1].accuracy.metric if half else "",
        cell(half, problem),
        *(cell(*integer[target]) for target in TARGETS),
        " / ".join(accepted(each) if each else "-" for each in models),
        f"{time.perf_counter() - start:.0f}",
        "yes" if complete else "no",
    ]


Made = tuple[onnx.ModelProto, Judged]


def fp16(inputs: CalibrationInputs) -> Made:
    """The network in half precision, and what that changes."""
    statistics = find_target("tensorrt").calibrate(inputs, Progress(quiet=True))
    model = convert_to_fp16(inputs.artifact.model, statistics.ranges).model
    judge = AccuracyDrop(inputs.artifact.model, inputs.judging or inputs.samples, inputs.task)
    return model, judge.measure(model)


def int8(
    foreign: foreign_models.Foreign, model: onnx.ModelProto, samples: NDArray[np.float32], target: str
) -> Made:
    """The network in INT8 for a target, as `edgeproof quantize` makes and judges it."""
    request = QuantizeRequest(model, samples, None, MEASURED, target, task=foreign.task, shape=foreign.shape)
    result = quantize(request)
    return result.artifact.model, Judged(result.parity, result.accuracy)


def attempted(work: Callable[[], Made]) -> tuple[Made | None, str]:
    """What came of it, or why nothing did."""
    try:
        return work(), ""
    except EdgeproofError as error:
        return None, said(error)


def said(error: EdgeproofError) -> str:
    """The first line of an error, and what it got."""
    return " ".join([error.message, error.details["got"]]).replace("|", "/").strip()


def cell(made: Made | None, problem: str) -> str:
    """Error and answers of one precision."""
    if made is None:
        return problem
    judged = made[1]
    decibels = "exact" if judged.parity.sqnr_db is None else f"{judged.parity.sqnr_db:.1f} dB"
    low, high = judged.accuracy.ci95
    shown = f"{decibels}, {judged.accuracy.drop:.1f} points lost ({low:.1f} to {high:.1f})"
    return shown if judged.parity else f"{shown} (failed: {judged.parity.reason})"


def accepted(model: onnx.ModelProto) -> str:
    """The compiler's word on the model and on the graph that ONNX Runtime hands over."""
    data = model.SerializeToString()
    own = preflight(data)
    handed_over = preflight_handed_over(data, own)
    return "yes" if own and handed_over else "no"


def render(rows: Mapping[str, Sequence[str]], order: Sequence[str]) -> str:
    """The table as Markdown."""
    lines = [
        "# Networks that others exported",
        "",
        written("foreign"),
        "Each model is judged on inputs that did not calibrate it, against the network as it came: a point",
        "lost is an answer in a hundred that changed. Random weights are there to try the graphs: their",
        "answers mean nothing.",
        "",
        *growing_table.lines(COLUMNS, rows, order),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
