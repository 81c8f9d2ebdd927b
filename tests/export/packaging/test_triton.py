"""`edgeproof package --triton`: Triton's own protobuf reads what is written."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from edgeproof.export.packaging.triton import TritonRequest, config, write_repository
from edgeproof.runtime.errors import EdgeproofError, InputError
from edgeproof.runtime.session.session import Session


def parsed(folder):
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@pytest.fixture
def model(tiny_bundle, tmp_path):
    return write_repository(tiny_bundle, TritonRequest(tmp_path / "models", max_batch=16))


def changed(bundle, **changes):
    """The bundle with another manifest."""
    manifest = dataclasses.replace(bundle.manifest, **changes)
    return SimpleNamespace(
        manifest=manifest, task=bundle.task, model_bytes=bundle.model_bytes, golden=bundle.golden
    )


def test_tritons_own_protobuf_reads_the_configuration(model, tiny_bundle):
    found, manifest = parsed(model), tiny_bundle.manifest
    assert (found.name, found.backend, found.max_batch_size) == (model.name, "onnxruntime", 16)
    (given,), (answer,) = found.input, found.output
    assert (given.name, list(given.dims)) == (manifest.input.name, list(manifest.input.shape[1:]))
    assert (answer.name, list(answer.dims)) == (manifest.outputs[0].name, list(manifest.outputs[0].shape[1:]))
    assert given.data_type == answer.data_type == model_config_pb2.TYPE_FP32
    assert found.HasField("dynamic_batching")
    assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    (accelerator,) = found.optimization.execution_accelerators.gpu_execution_accelerator
    assert accelerator.name == "tensorrt"
    assert "precision_mode" not in accelerator.parameters  # the graph's own types say it


def test_labels_and_what_a_client_needs(model, tiny_bundle):
    found, manifest = parsed(model), tiny_bundle.manifest
    assert (model / found.output[0].label_filename).read_text().split() == list(manifest.labels)
    parameters = {key: value.string_value for key, value in found.parameters.items()}
    assert json.loads(parameters["edgeproof.preprocess"])["mean"] == list(manifest.preprocess.mean)
    assert json.loads(parameters["edgeproof.task"])["name"] == "classification"
    own = json.loads((tiny_bundle.folder / "manifest.json").read_text())["sha256"]
    assert parameters["edgeproof.bundle_sha256"] == own


def test_the_model_answers_the_warm_up_as_pytorch_did(model, tiny_bundle):
    (warm_up,) = parsed(model).model_warmup
    (name, given), *_ = warm_up.inputs.items()
    data = np.frombuffer((model / "warmup" / given.input_data_file).read_bytes(), np.float32)
    with Session((model / "1" / "model.onnx").read_bytes()) as session:
        assert session.input_name == name
        answer = session.run(data.reshape(warm_up.batch_size, *given.dims))
    wanted = tiny_bundle.golden().outputs["output"][:1]
    assert np.allclose(answer["output"], wanted, atol=0.1 * np.abs(wanted).max())


def test_the_verdict_chooses_the_precision_unless_one_is_named(tiny_bundle, tmp_path):
    for number, name in enumerate((None, "fp16")):
        folder = write_repository(tiny_bundle, TritonRequest(tmp_path / str(number), name))
        chosen = name or tiny_bundle.manifest.verdict.ship
        assert (folder / "1" / "model.onnx").read_bytes() == tiny_bundle.model_bytes(chosen)
        assert parsed(folder).parameters["edgeproof.precision"].string_value == chosen
    with pytest.raises(InputError, match="fp8"):
        write_repository(tiny_bundle, TritonRequest(tmp_path / "other", "fp8"))
    assert not (tmp_path / "other" / "tiny").exists()


def test_int8_for_the_cpu_is_served_there(tiny_bundle):
    bundle = changed(tiny_bundle, target="cpu")
    found = text_format.Parse(config(bundle, "int8", 8), model_config_pb2.ModelConfig())
    assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    assert not found.HasField("optimization")
    found = text_format.Parse(config(bundle, "fp16", 8), model_config_pb2.ModelConfig())
    assert found.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU


def test_a_fixed_batch_is_part_of_the_shape(tiny_bundle):
    manifest = tiny_bundle.manifest
    fixed = dataclasses.replace(manifest.input, shape=(1, *manifest.input.shape[1:]))
    outputs = tuple(dataclasses.replace(each, shape=(1, *each.shape[1:])) for each in manifest.outputs)
    bundle = changed(tiny_bundle, input=fixed, outputs=outputs)
    found = text_format.Parse(config(bundle, "fp32", 8), model_config_pb2.ModelConfig())
    assert found.max_batch_size == 0
    assert list(found.input[0].dims) == list(fixed.shape)
    assert not found.HasField("dynamic_batching")


@pytest.mark.parametrize("name", ["two words", "ü", 'a"b', ""])
def test_a_name_that_triton_cannot_serve_is_refused(tiny_bundle, tmp_path, name):
    with pytest.raises(InputError, match="cannot serve"):
        write_repository(changed(tiny_bundle, name=name), TritonRequest(tmp_path / "models"))
    assert not (tmp_path / "models").exists()


def test_what_is_there_is_replaced_only_when_that_is_asked_for(model, tiny_bundle, tmp_path):
    request = TritonRequest(tmp_path / "models")
    with pytest.raises(EdgeproofError, match="--force"):
        write_repository(tiny_bundle, request)
    assert parsed(model).max_batch_size == 16
    write_repository(tiny_bundle, dataclasses.replace(request, force=True))
    assert parsed(model).max_batch_size == 8


def test_another_programs_folder_is_left_alone(tiny_bundle, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "thesis.txt").touch()
    with pytest.raises(EdgeproofError):
        write_repository(tiny_bundle, TritonRequest(tmp_path, force=True))
    assert (tmp_path / "tiny" / "thesis.txt").exists()


def test_the_command(edgeproof, tiny_bundle, tmp_path):
    done = edgeproof("package", tiny_bundle.folder, "--triton", tmp_path, "--precision", "FP16")
    assert done.returncode == 0, done.stderr
    assert f"model: {tmp_path / 'tiny'}" in done.stdout
    assert parsed(tmp_path / "tiny").parameters["edgeproof.precision"].string_value == "fp16"
