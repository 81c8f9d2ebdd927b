"""What the way to INT8 looks at, and how much it leaves float, for each target."""

import numpy as np
import pytest

from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.dataset.load import CalibrationInputs
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.targets.base import Int8Request
from edgeproof.calibration.targets.quantizer import make_int8
from edgeproof.calibration.targets.registry import TARGETS, find_target

LAYERS = 20
QUIET = Progress(quiet=True)


class Reads:
    """Inputs that remember at which positions they were read, one list a reading."""

    def __init__(self, inputs):
        self.positions = []
        self.samples = CalibrationSet(self._read, len(inputs), "0" * 64)
        self._inputs = inputs

    def _read(self, positions):
        self.positions.append(list(positions))
        return self._inputs[np.asarray(positions)]


@pytest.fixture(scope="module")
def deep(vector, rng):
    """Twenty layers, one after the other."""
    random = rng(11)
    weights = {f"w{i}": random.standard_normal((4, 4)).astype(np.float32) / 2 for i in range(LAYERS)}
    names = ["x", *(f"h{i}" for i in range(LAYERS - 1)), "y"]
    body = " ".join(f"{names[i + 1]} = Gemm({names[i]}, w{i})" for i in range(LAYERS))
    return vector(body, **weights)


@pytest.fixture(scope="module")
def inputs(rng):
    return rng(12).standard_normal((24, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "left_float"),
    [
        ("tensorrt", [0, 1, 2, 3, 5, 8]),
        ("tensorrt-fp32", [0, 1, 2, 3, 5, 8]),
        ("cpu", [0, 0, 1, 2, 3, 5, 8]),
    ],
)
def test_few_layers_stay_float_at_first_then_half_as_many_again_and_never_more_than_half(
    deep, inputs, name, left_float
):
    """TensorRT starts with one in 16, the CPU with none, where a layer in float costs speed."""
    target, given = find_target(name), CalibrationInputs(deep, Reads(inputs).samples)
    statistics = target.calibrate(given, QUIET)
    result = make_int8(target, given, statistics, Int8Request(max_drop=-1))  # which nothing can hold
    assert [attempt.float_layers for attempt in result.tried] == left_float
    assert result.layers == LAYERS


@pytest.mark.parametrize(("share", "left_float"), [(0.0, [0, 0]), (0.05, [0, 1]), (0.2, [0, 1, 2, 3])])
def test_no_more_layers_stay_float_than_are_allowed(deep, inputs, share, left_float):
    target, given = find_target("tensorrt"), CalibrationInputs(deep, Reads(inputs).samples)
    statistics = target.calibrate(given, QUIET)
    result = make_int8(target, given, statistics, Int8Request(max_drop=-1, max_float=share))
    assert [attempt.float_layers for attempt in result.tried] == left_float


@pytest.mark.parametrize("name", TARGETS)
def test_every_calibration_input_is_counted(deep, inputs, name):
    """The extremes of the first layer's input are those of all inputs."""
    reads = Reads(inputs)
    statistics = find_target(name).calibrate(CalibrationInputs(deep, reads.samples), QUIET)
    assert statistics.samples == len(inputs)
    assert {position for read in reads.positions for position in read} == set(range(len(inputs)))
    assert statistics.ranges["x"].low == inputs.min()
    assert statistics.ranges["x"].high == inputs.max()
    assert statistics.histograms["x"].counts.sum() == inputs.size


def test_ranges_for_tensorrt_are_chosen_on_many_inputs(deep, inputs):
    """Chosen on one they would clip what the others reach."""
    reads, target = Reads(inputs), find_target("tensorrt")
    given = CalibrationInputs(deep, reads.samples)
    statistics = target.calibrate(given, QUIET)
    reads.positions.clear()
    plan = target.plan(given, statistics, QUIET)
    assert len(max(reads.positions, key=len)) == len(inputs)
    assert {choice.value for choice in plan.choices} == {"x", *(f"h{i}" for i in range(LAYERS - 1))}


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-fp32"])
def test_step_sizes_of_weights_are_searched_for(vector, rng, name):
    """One large weight among many small ones: a step that reaches it would round the others coarsely."""
    random, count = rng(13), 20_000
    weight = random.uniform(-0.3, 0.3, (count, 4)).astype(np.float32)
    weight[0] = 1
    network = vector("h = MatMul(x, w) y = MatMul(h, v)", v=weight, w=np.ones((4, count), np.float32) / count)
    target = find_target(name)
    given = CalibrationInputs(network, Reads(random.standard_normal((24, 4)).astype(np.float32)).samples)
    params = target.plan(given, target.calibrate(given, QUIET), QUIET).baseline()
    assert (params.weight_scales["v"] < 0.95 / 127).all()


@pytest.mark.parametrize(("name", "compiled"), [("tensorrt", True), ("tensorrt-fp32", True), ("cpu", False)])
def test_only_models_for_tensorrt_are_given_to_its_compiler(name, compiled):
    assert find_target(name).compiled is compiled
