import dataclasses

import onnxruntime
import pytest

from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import Verdict
from edgeproof.runtime.errors import InputError, PlacementError, PrecisionError
from edgeproof.runtime.inference.runner import Runner
from edgeproof.runtime.providers.registry import PROVIDERS
from edgeproof.runtime.providers.request import ProviderRequest
from edgeproof.runtime.session.selection import explain_precision, model_for, open_session

CPU = "CPUExecutionProvider"


@pytest.fixture
def int8_bundle(write_bundle, tmp_path, tiny_model):
    """int8_bundle(target, ship): a bundle with an INT8 model for that target, and that verdict."""

    def make(target, ship="int8"):
        bundle = Bundle.open(write_bundle(tmp_path / f"{target}-{ship}"))
        entry = dataclasses.replace(bundle.manifest.models["fp16"])
        models = {**bundle.manifest.models, "int8": entry}
        manifest = object.__new__(type(bundle.manifest))
        for field in dataclasses.fields(bundle.manifest):
            object.__setattr__(manifest, field.name, getattr(bundle.manifest, field.name))
        object.__setattr__(manifest, "models", models)
        object.__setattr__(manifest, "target", target)
        object.__setattr__(manifest, "verdict", Verdict(ship, ""))
        return Bundle(bundle.folder, manifest)

    return make


@pytest.mark.parametrize(
    ("target", "ship", "provider", "precision"),
    [
        ("tensorrt", "int8", "tensorrt", "int8"),
        ("tensorrt", "int8", "cuda", "fp16"),
        ("tensorrt", "int8", "cpu", "fp32"),
        ("tensorrt", "fp16", "tensorrt", "fp16"),
        ("tensorrt", "fp16", "cpu", "fp32"),
        ("tensorrt", "fp32", "cuda", "fp16"),
        ("cpu", "int8", "tensorrt", "fp16"),
        ("cpu", "int8", "cuda", "fp16"),
        ("cpu", "int8", "cpu", "int8"),
        ("cpu", "fp16", "cpu", "fp32"),
        (None, "int8", "tensorrt", "int8"),
        (None, "int8", "cpu", "fp32"),
    ],
)
def test_the_provider_comes_first_and_then_the_precision_that_suits_it(
    int8_bundle, target, ship, provider, precision
):
    manifest = int8_bundle(target, ship).manifest
    assert PROVIDERS[provider].usual_precision(manifest) == precision
    assert bool(explain_precision(manifest, provider, precision)) == (precision != ship)


def test_the_dla_takes_float16(int8_bundle):
    assert PROVIDERS["tensorrt"].usual_precision(int8_bundle("tensorrt").manifest, dla=True) == "fp16"


def test_a_bundle_without_float16_runs_in_float32_on_cuda(bundle):
    models = {"fp32": bundle.manifest.models["fp32"]}
    manifest = dataclasses.replace(bundle.manifest, models=models, verdict=Verdict("fp32", ""))
    assert PROVIDERS["cuda"].usual_precision(manifest) == "fp32"


def test_a_precision_that_is_asked_for_is_taken_everywhere(bundle):
    choose = model_for(bundle, ProviderRequest("auto", "fp16"))
    assert [choose(provider)[1] for provider in ("tensorrt", "cuda", "cpu")] == ["fp16"] * 3


def test_one_that_the_bundle_lacks_is_refused(bundle):
    with pytest.raises(InputError, match="holds no int8 model"):
        model_for(bundle, ProviderRequest("auto", "int8"))("cuda")


def test_int8_made_for_the_cpu_is_not_sent_to_tensorrt(int8_bundle):
    choose = model_for(int8_bundle("cpu"), ProviderRequest("tensorrt", "int8"))
    with pytest.raises(PlacementError, match="made for the CPU") as caught:
        choose("tensorrt")
    assert "--target tensorrt" in str(caught.value)
    assert choose("cpu")[1] == "int8"


@pytest.mark.parametrize(
    ("version", "target", "refused"),
    [
        ("1.23.2", "tensorrt", True),
        ("1.29.0", "tensorrt", True),
        ("1.30.0", "tensorrt", False),
        ("2.0.0", "tensorrt", False),
        ("1.23.2", "tensorrt-fp32", False),
        ("1.23.2", "cpu", False),
        ("1.23.2", None, False),
    ],
)
def test_int8_beside_float16_is_not_run_where_it_would_be_truncated(
    int8_bundle, monkeypatch, version, target, refused
):
    monkeypatch.setattr(onnxruntime, "__version__", version)
    choose = model_for(int8_bundle(target), ProviderRequest("cpu", "int8"))
    if refused:
        with pytest.raises(PrecisionError, match="truncates float16") as caught:
            choose("cpu")
        assert "onnxruntime 1.30" in str(caught.value)
    else:
        assert choose("cpu")[1] == "int8"


def test_with_no_provider_left_the_last_reason_is_told(int8_bundle, monkeypatch):
    monkeypatch.setattr(onnxruntime, "__version__", "1.23.2")
    bundle = int8_bundle("tensorrt")
    request = ProviderRequest("auto", "int8")
    with pytest.raises(PrecisionError, match="truncates float16"):
        open_session(bundle, request)


# --- through a runner -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lacks", "provider", "precision"),
    [((), "tensorrt", "fp16"), (("tensorrt",), "cuda", "fp16"), (("tensorrt", "cuda"), "cpu", "fp32")],
)
def test_a_runner_takes_the_best_provider_that_there_is(machine, bundle, lacks, provider, precision):
    machine.broken = {name: ["libmissing.so"] for name in lacks}
    with Runner.open(bundle) as runner:
        assert (runner.placement.provider, runner.precision) == (provider, precision)
        assert not runner.placement.fallback


def test_a_model_that_a_provider_does_not_take_goes_to_the_next_in_its_precision(machine, bundle):
    machine.refused = {name: {"Gemm"} for name in ("TensorrtExecutionProvider", "CUDAExecutionProvider")}
    with Runner.open(bundle) as runner:
        assert (runner.placement.provider, runner.precision) == ("cpu", "fp32")
        assert len(runner.placement.refused) == 2
