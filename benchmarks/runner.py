"""What the runner costs: over ONNX Runtime's own call, and beside what the machine can do with photographs.

    python benchmarks/runner.py BUNDLE PHOTOGRAPHS [--first-label BUNDLE] [--write FILE.md]
                                [--rounds N] [--photographs N] [--frames N] [--calls N]

BUNDLE is a bundle of MobileNetV2 (or another), PHOTOGRAPHS a folder with JPEG files at any depth;
--first-label names the bundle that a process starts with, where it is another. What is measured from
photographs to labels stands in stream.py, and what a model that takes pixels saves in pixels.py.

`Session.run` and raw, pre-bound `run_with_iobinding` answer the same batch of one on the CPU provider with
one thread, in turns within one process. Of many short rounds each side's fastest is taken: the others tell
what else the machine was doing. The raw run writes into a buffer that its next run overwrites; `Session.run`
gives arrays that are the caller's own.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from page import Figure, figure_table, written
from pixels import pixels_section
from stream import endurance_section, first_label_section, speed_section

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.session.session import Session

RUNS = 20
SHAPES = ((3, 8, 8), (3, 224, 224))


def main() -> None:
    """Measure, print, and write where asked."""
    options = parsed()
    bundle = Bundle.open(options.bundle)
    photographs = sorted(options.photographs.rglob("*.jp*g"))[: options.number]
    if not photographs:
        sys.exit(f"{options.photographs} holds no JPEG files")
    report = "\n".join(
        [
            "# What the runner costs",
            "",
            written("bench-runner"),
            "",
            *overhead_section(options.calls),
            *speed_section(bundle, photographs, options.rounds),
            *pixels_section(bundle, photographs),
            *endurance_section(options.frames),
            *first_label_section(options.first_label or options.bundle, photographs[0]),
        ]
    )
    print(report)
    if options.write:
        options.write.write_text(report, encoding="utf-8")


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("photographs", type=Path, metavar="PHOTOGRAPHS")
    parser.add_argument("--first-label", type=Path, metavar="BUNDLE", help="that a process starts with")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the report there too")
    sizes = {
        "rounds": (5, "rounds of photographs"),
        "photographs": (500, "per round"),
        "frames": (100_000, "from memory"),
        "calls": (500, "rounds of 20 calls"),
    }
    for name, (usual, what) in sizes.items():
        parser.add_argument(
            f"--{name}",
            dest="number" if name == "photographs" else name,
            type=int,
            default=usual,
            metavar="N",
            help=f"{what} (default {usual})",
        )
    return parser.parse_args()


def overhead_section(rounds: int) -> list[str]:
    """What `Session.run` adds to a raw run."""
    figures = []
    for shape in SHAPES:
        raw, ours = measure(pooling_model(shape), shape, rounds)
        name = f"`Session.run` on 1x{'x'.join(map(str, shape))}, µs"
        added = f"{ours - raw:+.1f} µs"
        figures.append(Figure(name, f"{ours:.1f}", f"{raw:.1f} (raw)", added, "at most +10 µs"))
    return [
        "## `Session.run` over raw, pre-bound `run_with_iobinding`",
        "",
        f"A batch of one, one thread, {rounds} rounds of {RUNS} calls in turns; each side's fastest round.",
        "",
        *figure_table(figures),
        "",
    ]


def measure(model: bytes, shape: tuple[int, ...], rounds: int) -> tuple[float, float]:
    """Least microseconds on one batch: of a raw run, and of `Session.run`."""
    batch = np.random.default_rng(0).random((1, *shape), np.float32)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    raw = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    binding = raw.io_binding()
    answer = np.empty((1, 1000), np.float32)
    binding.bind_ortvalue_input("input", onnxruntime.OrtValue.ortvalue_from_numpy(batch))
    binding.bind_ortvalue_output("scores", onnxruntime.OrtValue.ortvalue_from_numpy(answer))
    with Session(model, provider=ProviderRequest(threads=1)) as session:
        times = [
            (microseconds(lambda: raw.run_with_iobinding(binding)), microseconds(lambda: session.run(batch)))
            for _ in range(rounds)
        ]
    return min(bare for bare, _ in times), min(ours for _, ours in times)


def microseconds(function: Callable[[], object]) -> float:
    """Mean time of a call, over a round."""
    start = time.perf_counter()
    for _ in range(RUNS):
        function()
    return 1e6 * (time.perf_counter() - start) / RUNS


def pooling_model(shape: tuple[int, ...]) -> bytes:
    """A network that costs next to nothing: the mean of each channel, to a thousand classes."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "weights"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "pooling",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 1000])],
        [numpy_helper.from_array(np.ones((shape[0], 1000), np.float32), "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


if __name__ == "__main__":
    main()
