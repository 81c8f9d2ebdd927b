"""Recovery takes every operator that ONNX Runtime runs, holds little, and needs no torch."""

import subprocess
import sys

import numpy as np
import pytest

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.dataset.calibration_set import CalibrationSet
from edgeproof.calibration.progress import Progress
from edgeproof.calibration.qdq.quantized_inputs import LAYERS_ONLY
from edgeproof.calibration.recovery import activations
from edgeproof.calibration.recovery.mixed_precision import least_error_plans, rank, reconstructed
from edgeproof.calibration.recovery.parameters import baseline, recovered
from edgeproof.calibration.targets.registry import find_target

QUIET = Progress(quiet=True)
UP_AND_DOWN = """
network (float[batch,3,16,16] image) => (float[batch,5] logits) {
    down = Conv<pads=[1,1,1,1], strides=[2,2]>(image, conv_w, conv_b)
    halves = Div(down, root)
    erf = Erf(halves)
    gelu = Mul(down, erf)
    up = ConvTranspose<strides=[2,2]>(gelu, up_w, up_b)
    wide = Resize<mode="linear">(gelu, , scales)
    both = Concat<axis=1>(up, wide)
    square = Pow(both, two)
    mixed = Conv(square, mixed_w, mixed_b)
    relu = Relu(mixed)
    pool = GlobalAveragePool(relu)
    flat = Flatten(pool)
    logits = Gemm<transB=1>(flat, head_w, head_b)
}"""


@pytest.fixture(scope="module")
def up_and_down(build, rng, he_normal):
    """A network with operators that only an interpreter of all of ONNX runs."""
    normal = he_normal(rng(5))

    return build(
        UP_AND_DOWN,
        conv_w=normal(8, 3, 3, 3),
        conv_b=np.zeros(8, np.float32),
        root=np.float32(np.sqrt(2)),
        up_w=normal(8, 8, 2, 2),
        up_b=np.full(8, 0.1, np.float32),
        scales=np.float32([1, 1, 2, 2]),
        two=np.float32(2),
        mixed_w=normal(8, 16, 1, 1),
        mixed_b=np.zeros(8, np.float32),
        head_w=normal(5, 8),
        head_b=np.zeros(5, np.float32),
    )


def calibration(inputs):
    return CalibrationSet(lambda positions: inputs[np.asarray(positions)], len(inputs), "0" * 64)


@pytest.fixture(scope="module")
def plan(up_and_down, photos):
    (plan,) = least_error_plans(up_and_down, calibration(photos), QUIET, [LAYERS_ONLY])
    return plan


def test_a_network_with_transposed_convolution_and_resize_is_recovered(
    plan, up_and_down, photos, run, relative_error
):
    right = run(up_and_down, photos)["logits"]

    student = reconstructed(plan, calibration(photos), QUIET)
    target = find_target("tensorrt-fp32")
    written = [target.write(made, {}, {}).model for made in (baseline(plan), recovered(plan, student, {}))]
    before, after = (
        relative_error(right, run(OnnxArtifact(model, "int8"), photos)["logits"]) for model in written
    )

    assert after < 0.8 * before


def test_its_layers_are_ranked(plan, photos):
    ranked = rank(plan, calibration(photos), QUIET)

    assert {layer.node for layer in ranked} == {"down", "mixed", "logits"}
    assert all(layer.error > 0 for layer in ranked)


def test_what_is_held_in_memory_changes_nothing(plan, photos, monkeypatch):
    samples = calibration(photos)
    moving = reconstructed(plan, samples, QUIET)
    ranked = rank(plan, samples, QUIET)

    monkeypatch.setattr(activations, "MAX_HELD_BYTES", 0)  # all is computed from the inputs each time
    still = reconstructed(plan, samples, QUIET)

    for name, weight in moving.weights.items():
        np.testing.assert_array_equal(weight, still.weights[name])
    for name, bias in moving.biases.items():
        np.testing.assert_allclose(bias, still.biases[name], rtol=1e-5, atol=1e-6)
    assert [layer.node for layer in rank(plan, samples, QUIET)] == [layer.node for layer in ranked]


def test_a_fixed_batch_is_recovered_like_a_free_one(build, network_weights, photos):
    text = """
    g (float[{batch},3,16,16] image) => (float[{batch},8] out) {{
        conv = Conv<pads=[1,1,1,1]>(image, conv_w, conv_b)
        pool = GlobalAveragePool(conv)
        out = Flatten(pool)
    }}"""
    weights = {name: network_weights[name] for name in ("conv_w", "conv_b")}
    found = []
    for batch in ("batch", 4):
        artifact = build(text.format(batch=batch), **weights)
        (plan,) = least_error_plans(artifact, calibration(photos), QUIET, [LAYERS_ONLY])
        found.append(reconstructed(plan, calibration(photos), QUIET))

    free, fixed = found
    np.testing.assert_array_equal(free.weights["conv_w"], fixed.weights["conv_w"])
    np.testing.assert_allclose(free.biases["conv_b"], fixed.biases["conv_b"], rtol=1e-5, atol=1e-6)


def test_recovery_needs_no_torch(up_and_down, photos, tmp_path):
    (tmp_path / "model.onnx").write_bytes(up_and_down.data)
    np.save(tmp_path / "inputs.npy", np.concatenate([photos, photos[:, :, ::-1]]))
    code = """
import sys
sys.modules.update(dict.fromkeys(["torch", "torchvision", "onnxscript", "onnxsim"]))  # None refuses an import
from edgeproof.export.cli import main
main()
"""
    arguments = ["model.onnx", "--calibration", "inputs.npy", "--out", "int8.onnx", "--recover", "auto"]
    done = subprocess.run(
        [sys.executable, "-c", code, "quantize", *arguments, "--max-drop", "100"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "int8.onnx").stat().st_size
