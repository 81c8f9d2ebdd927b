"""What the runner adds to ONNX Runtime: `Session.run` against raw, pre-bound `run_with_iobinding`.

    python benchmarks/runner.py [--rounds N]

Both answer the same batch of one on the CPU provider with one thread, in turns within one process. Of many
short rounds each side's fastest is taken: the others tell what else the machine was doing. The raw run writes
into a buffer that its next run overwrites; `Session.run` gives arrays that are the caller's own.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeproof.runtime.providers import ProviderRequest
from edgeproof.runtime.session import Session

RUNS = 20
SHAPES = ((3, 8, 8), (3, 224, 224))


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--rounds", type=int, default=500, metavar="N", help="rounds of 20 runs (default 500)"
    )
    rounds = parser.parse_args().rounds
    print("| input | raw, us | Session.run, us | added, us (goal: at most 10) |")
    print("|---|---|---|---|")
    for shape in SHAPES:
        raw, ours = measure(pooling_model(shape), shape, rounds)
        print(f"| {'x'.join(map(str, (1, *shape)))} | {raw:.1f} | {ours:.1f} | {ours - raw:.1f} |")


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
