"""`edgeproof compare`: any two forms of a model, output by output and layer by layer."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from edgeproof.calibration.onnx_graph.graph import array_of
from edgeproof.export import CompareRequest, compare_models
from edgeproof.export.comparison.compare import compare_forms
from edgeproof.export.comparison.form import ModelForm
from edgeproof.export.comparison.saved import load, save
from edgeproof.export.comparison.show import plot, text
from edgeproof.runtime.errors import DataError, InputError
from edgeproof.runtime.providers.request import ProviderRequest


def compared(*models, **options):
    """The comparison of models as they are typed."""
    return compare_models(CompareRequest(tuple(map(str, models)), **options))


@pytest.fixture
def damaged(tiny_bundle, tmp_path):
    """An ONNX file: the bundle's float32 model, with other weights in its second layer."""
    model = onnx.load_from_string(tiny_bundle.model_bytes("fp32"))
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == layers[1].input[1])
    values = array_of(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(values[::-1].copy(), weights.name))
    onnx.save(model, tmp_path / "damaged.onnx")
    return tmp_path / "damaged.onnx", layers[1].name


@pytest.mark.parametrize(("first", "second"), [("fp32", "fp16"), ("fp32", "int8"), ("fp16", "int8")])
def test_precisions_of_a_bundle_give_the_same_answers(tiny_bundle, first, second):
    found = compared(f"{tiny_bundle.folder}:{first}", f"{tiny_bundle.folder}:{second}")
    assert found
    assert found.parity.relative_l2 > 0
    assert found.layers
    assert found.first_off is None
    assert found.worst == max(found.layers, key=lambda layer: layer.relative)
    assert found.inputs == len(tiny_bundle.golden().input)


def test_a_model_is_itself(tiny_bundle):
    name = f"{tiny_bundle.folder}:fp32"
    found = compared(name, name)
    assert found
    assert found.parity.relative_l2 == 0
    assert all(layer.relative < 1e-6 for layer in found.layers)


def test_a_network_is_compared_layer_by_layer_with_its_lowered_forms(tiny_network, tiny_bundle):
    for precision in ("fp32", "fp16", "int8"):
        found = compared(tiny_network, f"{tiny_bundle.folder}:{precision}", samples=16)
        assert found, found.parity.reason
        assert (found.first.provider, found.second.provider, found.inputs) == ("pytorch", "cpu", 16)
        assert found.layers
        assert all("PyTorch module" in layer.node for layer in found.layers)


def test_the_first_layer_that_differs_is_named(tiny_bundle, damaged):
    file, node = damaged
    found = compared(f"{tiny_bundle.folder}:fp32", file)
    assert not found
    assert node in found.first_off.node
    assert found.layers[0].relative < 1e-5
    assert f"first above 0.0001: {found.first_off.node}" in text(found)
    assert "THE ANSWERS DIFFER" in text(found)


def test_other_outputs_are_refused(tiny_bundle, tmp_path):
    model = onnx.load_from_string(tiny_bundle.model_bytes("fp32"))
    info = onnx.helper.make_tensor_value_info("extra", onnx.TensorProto.FLOAT, None)
    model.graph.node.append(onnx.helper.make_node("Relu", [model.graph.output[0].name], ["extra"]))
    model.graph.output.append(info)
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(DataError, match="different outputs"):
        compared(f"{tiny_bundle.folder}:fp32", tmp_path / "two.onnx")


def test_other_inputs_are_refused(tiny_bundle, tmp_path):
    np.save(tmp_path / "inputs.npy", np.zeros((4, 3, 5, 5), np.float32))
    name = f"{tiny_bundle.folder}:fp32"
    with pytest.raises(InputError, match="are not those of"):
        compared(name, name, inputs=str(tmp_path / "inputs.npy"))


def test_a_bundle_without_a_precision_says_which_there_are(tiny_bundle):
    with pytest.raises(InputError, match=f"{tiny_bundle.folder}:int8"):
        compared(tiny_bundle.folder, tiny_bundle.folder)


def test_files_alone_do_not_say_which_inputs(damaged):
    with pytest.raises(InputError, match="--inputs"):
        compared(damaged[0], damaged[0])


def test_an_unknown_provider_is_refused(tiny_bundle):
    with pytest.raises(InputError, match="provider"):
        compared(f"{tiny_bundle.folder}:fp32@tpu", f"{tiny_bundle.folder}:fp32")


# --- what another machine saved -----------------------------------------------------------------------


@pytest.fixture
def saved(tiny_bundle, tmp_path):
    form = ModelForm("there", tiny_bundle.model_bytes("int8"), ProviderRequest(precision="int8"))
    save(form, tiny_bundle.golden().input, tmp_path / "there.npz")
    return tmp_path / "there.npz"


def test_what_was_saved_is_compared_as_if_it_were_here(tiny_bundle, saved):
    here = compared(f"{tiny_bundle.folder}:fp32", f"{tiny_bundle.folder}:int8")
    form = ModelForm("here", tiny_bundle.model_bytes("fp32"), ProviderRequest())
    there = load(saved)
    found = compare_forms(form, there, there.inputs, tiny_bundle.task)
    assert found.parity == here.parity
    assert [layer.value for layer in found.layers] == [layer.value for layer in here.layers]
    errors = [layer.relative for layer in here.layers]
    # Not equal: ONNX Runtime drops casts between nodes of float16 whose values nobody asks for.
    assert [layer.relative for layer in found.layers] == pytest.approx(errors, rel=0.1, abs=1e-3)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x93NUMPY"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "there.npz").write_bytes(content)
    with pytest.raises(DataError, match="cannot be compared with"):
        load(tmp_path / "there.npz")


def test_another_programs_file_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", inputs=np.zeros(3))
    with pytest.raises(DataError, match="cannot be compared with"):
        load(tmp_path / "other.npz")
    with pytest.raises(DataError, match="no file"):
        load(tmp_path / "absent.npz")


def test_a_device_saves_without_torch_and_onnx(tiny_bundle, tmp_path):
    """What is kept there are the answers; the layers need the package onnx."""
    code = (
        "import sys\n"
        "for name in ('torch', 'torchvision', 'onnx', 'safetensors', 'sklearn', 'matplotlib', 'jinja2'):\n"
        "    sys.modules[name] = None\n"
        "import importlib.util as util\n"
        "real = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'onnx' else real(name, *more)\n"
        "from edgeproof.export.cli import main\n"
        "main()\n"
    )
    arguments = ["compare", f"{tiny_bundle.folder}:int8", "--save", str(tmp_path / "there.npz")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    there = load(tmp_path / "there.npz")
    assert "pip install onnx" in there.closed
    form = ModelForm("here", tiny_bundle.model_bytes("fp32"), ProviderRequest())
    found = compare_forms(form, there, there.inputs, tiny_bundle.task)
    assert found
    assert "pip install onnx" in found.unmatched
    assert "layers are not compared" in text(found)


# --- the command --------------------------------------------------------------------------------------


def test_the_command_prints_json_and_a_plot(edgeproof, tiny_bundle, tmp_path):
    names = (f"{tiny_bundle.folder}:fp32", f"{tiny_bundle.folder}:INT8@CPU")
    done = edgeproof("compare", *names, "--json", "--plot", tmp_path / "depth.png")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["same"] is True
    assert value["worst"]["relative"] == max(layer["relative"] for layer in value["layers"])
    with Image.open(tmp_path / "depth.png") as image:
        assert image.format == "PNG"


def test_the_verdict_is_the_exit_status(edgeproof, tiny_bundle, damaged):
    done = edgeproof("compare", f"{tiny_bundle.folder}:fp32", damaged[0])
    assert done.returncode == 1
    assert "THE ANSWERS DIFFER" in done.stdout


@pytest.mark.parametrize(
    "arguments", [("a:fp32",), ("a:fp32", "b:fp32", "c:fp32"), ("a:fp32", "b:fp32", "--save", "x.npz")]
)
def test_one_or_three_models_are_refused(edgeproof, arguments):
    done = edgeproof("compare", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "edgeproof compare BUNDLE:fp32 BUNDLE:int8" in done.stderr


def test_a_plot_needs_no_layers_to_be_asked_for_twice(tiny_bundle, tmp_path):
    name = f"{tiny_bundle.folder}:fp32"
    plot(compared(name, name), tmp_path / "depth.png")  # errors of 0 stand on a scale of logarithms
    assert (tmp_path / "depth.png").stat().st_size
