import numpy as np
import pytest

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.parity import TOLERANCES
from edgeproof.runtime.errors import BundleError, InputError, PlacementError
from edgeproof.runtime.inference.verification import verify
from edgeproof.runtime.providers.request import ProviderRequest


@pytest.fixture
def change_golden(bundle_folder, replace_file, npz):
    """change_golden(change): apply change(input, output) -> (input, output) and open the bundle again."""

    def change(function):
        with np.load(bundle_folder / "golden.npz") as arrays:
            changed = function(arrays["input"], arrays["output"])
        replace_file(bundle_folder, "golden.npz", npz(input=changed[0], output=changed[1]))
        return Bundle.open(bundle_folder)

    return change


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_good_bundle_passes_on_the_tolerance_of_its_precision(bundle, precision):
    parity = verify(bundle, precision)
    assert parity
    assert parity.samples == 6
    assert parity.output == "scores"
    assert parity.tolerance == TOLERANCES[precision]
    assert parity.top1_agreement == 1.0


def test_a_network_that_ends_in_probabilities_passes(write_bundle, tmp_path):
    assert verify(Bundle.open(write_bundle(tmp_path / "bundle", softmax=True)), "fp32")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    "change",
    [
        lambda output: 1.05 * output,
        lambda output: output + 0.5,
        lambda output: -output,
        lambda output: output[::-1],
        lambda output: output[:, ::-1],
    ],
    ids=["scaled", "shifted", "negated", "other samples", "other classes"],
)
def test_changed_golden_answers_fail(change_golden, precision, change):
    parity = verify(change_golden(lambda inputs, output: (inputs, change(output))), precision)
    assert not parity
    assert "relative error" in parity.reason


def test_changed_golden_inputs_fail(change_golden):
    assert not verify(change_golden(lambda inputs, output: (inputs[:, ::-1].copy(), output)), "fp16")


def test_another_model_fails(bundle_folder, replace_file, tiny_model):
    other = np.eye(3, 4, dtype=np.float32)
    replace_file(bundle_folder, "model.fp32.onnx", tiny_model(weights=other))
    opened = Bundle.open(bundle_folder)
    assert not verify(opened, "fp32")
    assert verify(opened, "fp16")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_model_that_answers_nan_or_inf_fails(bundle_folder, replace_file, tiny_model, bad):
    bias = np.array([0, bad, 0, 0], np.float32)
    replace_file(bundle_folder, "model.fp32.onnx", tiny_model(bias=bias))
    parity = verify(Bundle.open(bundle_folder), "fp32")
    assert not parity
    assert "candidate holds 6 NaN or Inf" in parity.reason


def test_golden_answers_that_do_not_depend_on_the_input_fail(change_golden):
    parity = verify(change_golden(lambda inputs, output: (inputs, np.zeros_like(output))), "fp16")
    assert not parity
    assert "the same for every input" in parity.reason


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (6, 5), (5, 6)])
def test_too_few_golden_samples_fail(change_golden, inputs, outputs):
    assert not verify(change_golden(lambda x, y: (x[:inputs], y[:outputs])), "fp16")


def test_an_output_that_the_model_does_not_have_fails(bundle_folder, edit_manifest):
    edit_manifest(bundle_folder, lambda manifest: manifest["outputs"][0].update(name="votes"))
    parity = verify(Bundle.open(bundle_folder), "fp32")
    assert not parity
    assert parity.output == "votes"


def test_golden_inputs_that_do_not_fit_the_model_are_refused(change_golden):
    opened = change_golden(lambda inputs, output: (inputs.astype(np.float64), output))
    with pytest.raises(InputError, match="does not fit the model"):
        verify(opened, "fp32")


def test_no_golden_samples_prove_nothing(change_golden):
    opened = change_golden(lambda inputs, output: (inputs[:0], output[:0]))
    with pytest.raises(BundleError, match="no samples"):
        verify(opened, "fp32")


def test_an_absent_precision_is_refused(bundle):
    with pytest.raises(InputError, match="holds no int8 model"):
        verify(bundle, "int8")


def test_golden_answers_changed_since_the_bundle_was_opened_are_refused(bundle):
    (bundle.folder / "golden.npz").write_bytes(b"other")
    with pytest.raises(BundleError, match="has changed since"):
        verify(bundle, "fp32")


# --- on a GPU ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["tensorrt", "cuda", "cpu"])
def test_the_result_says_where_it_was_computed(machine, bundle, provider):
    replay = verify(bundle, "fp16", provider)
    assert replay
    assert (replay.provider, replay.fallback) == (provider, False)


def test_a_result_computed_elsewhere_says_so(machine, bundle):
    machine.refused = {"CUDAExecutionProvider": {"Gemm"}}
    replay = verify(bundle, "fp16", ProviderRequest("cuda", allow_fallback=True))
    assert (replay.provider, replay.fallback) == ("cuda+cpu", True)


@pytest.mark.parametrize(("precision", "tf32"), [("fp32", "0"), ("fp16", None)])
def test_only_float32_is_held_to_float32(machine, bundle, precision, tf32):
    verify(bundle, precision, "cuda")
    assert machine.created[-1].providers[0][1].get("use_tf32") == tf32


def test_a_provider_that_does_not_run_the_model_is_a_failed_proof(machine, bundle):
    machine.refused = {"CUDAExecutionProvider": {"Gemm"}}
    with pytest.raises(PlacementError, match="do not run on cuda"):
        verify(bundle, "fp16", "cuda")
