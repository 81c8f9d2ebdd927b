import numpy as np
import pytest

from edgeproof.calibration.passes.range_search import candidates, choose_ranges
from edgeproof.calibration.qdq import tensorrt
from edgeproof.calibration.qdq.quantized_inputs import activations, find_quantized_inputs
from edgeproof.calibration.ranges.integer_format import ACTIVATION_INT8, ACTIVATION_UINT8
from edgeproof.calibration.ranges.methods import METHODS
from edgeproof.calibration.ranges.statistics import collect_statistics
from edgeproof.runtime.errors import ModelError


def quantize_tensorrt(artifact, *arguments, **options):
    """As a stage does: the model, and where it came from."""
    return artifact.derive(tensorrt.quantize_tensorrt(artifact.model, *arguments, **options), "int8", "int8")


@pytest.fixture(scope="module")
def choose():
    def choose(artifact, samples, grid=ACTIVATION_INT8, batches=None):
        sites = find_quantized_inputs(artifact.model)
        found = collect_statistics(artifact.model, batches or [samples], activations(sites))
        options = {name: candidates(histogram, grid) for name, histogram in found.histograms.items()}
        return found, list(choose_ranges(artifact.model, sites, options, samples))

    return choose


@pytest.mark.parametrize("grid", [ACTIVATION_INT8, ACTIVATION_UINT8], ids=["symmetric", "affine"])
def test_each_activation_gets_the_candidate_that_does_the_least_error(choose, network, photos, grid):
    found, choices = choose(network, photos, grid)
    assert [choice.value for choice in choices] == activations(find_quantized_inputs(network.model))
    for choice in choices:
        assert choice.errors.keys() == METHODS.keys()
        assert choice.errors[choice.method] == min(choice.errors.values())
        assert choice.range == METHODS[choice.method](found.histograms[choice.value], grid)


def test_the_damage_is_that_of_quantizing_the_one_tensor(choose, network, photos, run):
    _, choices = choose(network, photos)
    reference = run(network, photos)["logits"].astype(np.float64)
    scale = choices[0].range.high / 127
    rounded = (np.clip(np.rint(photos / scale), -127, 127) * scale).astype(np.float32)
    outputs = run(network, rounded)["logits"]
    expected = np.sum((outputs - reference) ** 2) / np.sum(reference**2)
    assert choices[0].value == "image"
    assert choices[0].errors[choices[0].method] == pytest.approx(expected, rel=1e-2)


def test_what_comes_before_the_first_activation_is_computed(choose, build, rng):
    """Pixels that are normalized in the graph have the ranges of those that were normalized before."""
    weights = {"w": rng(5).standard_normal((4, 3, 3, 3)).astype(np.float32)}
    body = "c = Conv(a, w) r = Relu(c) p = GlobalAveragePool(r) y = Flatten(p)"
    front = "f = Cast<to=1>(x) t = Transpose<perm=[0,3,1,2]>(f) a = Mul(t, factor)"
    pixels = rng(6).integers(0, 256, (8, 9, 9, 3), np.uint8)
    floats = pixels.transpose(0, 3, 1, 2).astype(np.float32) * np.float32(0.01)
    inside = build(
        f"g (uint8[batch,9,9,3] x) => (float[batch,4] y) {{ {front} {body} }}",
        factor=np.float32(0.01),
        **weights,
    )
    before = build(f"g (float[batch,3,9,9] a) => (float[batch,4] y) {{ {body} }}", **weights)
    (_, (wanted,)), (_, (got,)) = choose(before, floats), choose(inside, pixels)
    assert got.range == wanted.range
    assert got.errors == pytest.approx(wanted.errors)


def test_an_outlier_that_the_output_does_not_see_is_clipped(choose, build, rng):
    """Of two channels one has a spike and no weight: the widest range would round the other for nothing."""
    model = build(
        "g (float[batch,2] x) => (float[batch,2] y) { y = MatMul(x, w) }",
        w=np.array([[1, 0.5], [0, 0]], np.float32),
    )
    samples = rng(6).standard_normal((400, 2)).astype(np.float32)
    samples[0, 1] = 100
    _, (choice,) = choose(model, samples)
    assert choice.method != "max"
    assert choice.errors[choice.method] < choice.errors["max"] / 10


def test_an_outlier_that_decides_the_output_is_kept(choose, build, rng):
    model = build(
        "g (float[batch,2] x) => (float[batch,2] y) { y = MatMul(x, w) }",
        w=np.array([[0.01, 0.01], [10, 5]], np.float32),
    )
    samples = (rng(6).standard_normal((400, 2)) * [1, 1e-6]).astype(np.float32)
    samples[0, 1] = 30
    _, (choice,) = choose(model, samples)
    assert choice.range.high == 30


def test_the_choice_is_no_worse_for_the_whole_network_than_the_widest_ranges(
    choose, network, photos, run, relative_error
):
    found, choices = choose(network, photos)
    reference = run(network, photos)["logits"]
    errors = [
        relative_error(reference, run(quantize_tensorrt(network, ranges), photos)["logits"])
        for ranges in ({choice.value: choice.range for choice in choices}, found.ranges)
    ]
    assert errors[0] <= errors[1] * 1.05


def test_a_tensor_that_is_always_zero_does_no_error(choose, build, rng):
    model = build(
        "g (float[batch,4] x) => (float[batch,4] y) { z = Mul(x, zero) y = MatMul(z, w) }",
        zero=np.float32(0),
        w=np.eye(4, dtype=np.float32),
    )
    _, (choice,) = choose(model, rng().standard_normal((5, 4)).astype(np.float32))
    assert set(choice.errors.values()) == {0.0}
    assert choice.range.absmax == 0


def test_a_model_of_fixed_batch_is_judged_in_full_batches(choose, build, rng):
    text = "g (float[{},4] x) => (float[{},4] y) {{ y = MatMul(x, w) }}"
    weight = rng(1).standard_normal((4, 4)).astype(np.float32)
    samples = rng(2).standard_normal((6, 4)).astype(np.float32)
    fixed, free = (build(text.format(side, side), w=weight) for side in ("3", "batch"))
    (_, expected), (_, found) = choose(free, samples), choose(fixed, samples, batches=np.split(samples, 2))
    assert found[0].errors == pytest.approx(expected[0].errors)
    assert len(choose(fixed, samples[:4], batches=[samples[:3]])[1]) == 1


def test_choosing_does_not_change_the_model(choose, network, photos):
    before = network.model.SerializeToString(deterministic=True)
    choose(network, photos)
    assert network.model.SerializeToString(deterministic=True) == before


def test_an_old_opset_is_refused(choose, build, photos):
    model = build(
        "g (float[batch,4] x) => (float[batch,4] y) { y = MatMul(x, w) }",
        opset=10,
        w=np.eye(4, dtype=np.float32),
    )
    with pytest.raises(ModelError, match="opset"):
        choose(model, np.ones((2, 4), np.float32))
