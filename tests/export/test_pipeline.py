"""The whole way, and what is left behind when it ends early."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest

from edgeproof.calibration.onnx_graph.graph import array_of, as_tensor
from edgeproof.calibration.preflight.check import is_installed
from edgeproof.export import pipeline
from edgeproof.export.data.dataset import seeded_subset
from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.stages import publish
from edgeproof.export.training.trainer import predict
from edgeproof.runtime import Bundle, Preprocess, compare, verify
from edgeproof.runtime.bundle.parity import TOLERANCES
from edgeproof.runtime.errors import InputError, ModelError, OutputError, ParityError, TaskError
from edgeproof.runtime.session.session import Session, run_batched


def test_the_bundle_holds_what_the_contract_says(tiny_bundle):
    names = {entry.name for entry in tiny_bundle.folder.iterdir()}
    models = {f"model.{p}.onnx" for p in ("fp32", "fp16", "int8")}
    pictures = {"golden-0.png", "golden-1.jpg", "golden-2.png", "golden-3.jpg"}
    others = {"manifest.json", "golden.npz", "evidence.json", "report.html", "bom.cdx.json"}
    assert names == {*others, *models, *pictures}
    value = json.loads((tiny_bundle.folder / "manifest.json").read_text())
    assert value["schema"] == 2
    assert value["target"] == "tensorrt"
    assert value["form"] == "small"
    assert value["weights"]["source"] == "demo"
    assert value["weights"]["top1"] >= 95
    assert value["data"]["calibration"]["count"] == 128
    assert value["data"]["evaluation"]["count"] == 360
    assert value["data"]["calibration"]["sha256"] != value["data"]["evaluation"]["sha256"]
    assert value["input"] == {"name": "input", "shape": ["batch", 3, 32, 32], "dtype": "float32"}
    assert value["models"]["fp32"]["parity"]["sqnr_db"] > 90
    assert value["models"]["fp16"]["parity"]["passed"]
    words = {entry["preflight"]["accepted"] for entry in value["models"].values()}
    assert words == {True if is_installed() else None}
    assert {"python", "torch", "onnx", "onnxruntime", "onnxsim"} <= set(value["toolchain"])


def test_every_precision_is_what_it_says(tiny_bundle):
    models = {name: onnx.load_from_string(tiny_bundle.model_bytes(name)) for name in ("fp32", "fp16", "int8")}
    kinds = {name: {tensor.data_type for tensor in m.graph.initializer} for name, m in models.items()}
    assert onnx.TensorProto.FLOAT16 in kinds["fp16"]
    assert onnx.TensorProto.INT8 in kinds["int8"]
    assert not {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8} & kinds["fp32"]
    entries = tiny_bundle.manifest.models
    assert entries["fp16"].bytes < 0.7 * entries["fp32"].bytes


def test_the_lineage_can_be_followed(tiny_bundle):
    models, steps = tiny_bundle.manifest.models, tiny_bundle.manifest.lineage
    assert [step["stage"] for step in steps] == ["export", "simplify", "normalize", "fp16", "int8"]
    exported, simplified, normalized = (step["sha256"] for step in steps[:3])
    assert [step["parent"] for step in steps[:3]] == [None, exported, simplified]
    assert models["fp32"].sha256 == simplified
    assert models["fp16"].parent == models["int8"].parent == normalized


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_bundle_verifies(tiny_bundle, precision):
    replay = verify(tiny_bundle, precision)
    assert replay
    assert replay.pictures == 4


def test_golden_answers_are_pytorchs_own(tiny_bundle, sample):
    golden = tiny_bundle.golden()
    assert np.allclose(predict(sample.network, golden.input), golden.outputs["output"], atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_models_proofs_are_its_own(tiny_bundle, sample, digits, precision):
    """Parity and accuracy are measured again, on the samples that the export chose."""
    entry, preprocess = tiny_bundle.manifest.models[precision], tiny_bundle.manifest.preprocess
    compared = digits.evaluation.take(seeded_subset(360, 32)).tensor(preprocess)
    with Session(tiny_bundle.model_bytes(precision)) as session:
        found = [run_batched(session, compared, size)["output"] for size in (1, 2, 7)]
        answers = run_batched(session, digits.evaluation.tensor(preprocess), 32)["output"]
    wanted = predict(sample.network, compared)
    assert entry.parity.tolerance == TOLERANCES[precision]
    assert entry.parity.samples == 32
    measured = max(compare(wanted, each, TOLERANCES[precision]).relative_l2 for each in found)
    assert entry.parity.relative_l2 == pytest.approx(measured, rel=0.05)
    assert entry.accuracy.top1 == pytest.approx(
        100 * (answers.argmax(axis=1) == digits.evaluation.labels).mean(), abs=0.01
    )


def break_weight(artifact):
    model = onnx.ModelProto()
    model.CopyFrom(artifact.model)
    name = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(as_tensor(name, array_of(tensor) * np.float32(1.1)))
    return artifact.derive(model, "simplify", "fp32")


def test_a_simplifier_that_breaks_the_model_stops_the_pipeline(
    tiny_network, tmp_path, progress, monkeypatch, draftless
):
    monkeypatch.setattr(pipeline, "simplify", break_weight)
    with pytest.raises(ParityError, match=r"stage 'simplify'.*(\n.*)*module 'stem"):
        export_bundle(ExportRequest(model=tiny_network, out=tmp_path / "tiny"), progress)
    draftless(tmp_path)


def raise_interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize(("module", "stage"), [(pipeline, "simplify"), (publish, "_write_golden")])
def test_an_interrupt_leaves_nothing(tiny_network, tmp_path, progress, monkeypatch, draftless, module, stage):
    monkeypatch.setattr(module, stage, raise_interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(ExportRequest(model=tiny_network, out=tmp_path / "tiny"), progress)
    draftless(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_mid_export_leaves_nothing(tiny_network, tmp_path, draftless, number):
    command = [
        sys.executable,
        "-m",
        "edgeproof.export",
        "export",
        tiny_network,
        "--out",
        str(tmp_path / "tiny"),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "samples" in line:  # the exporter is at work now
            break
    time.sleep(0.3)
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert output == ""
    assert "interrupted" in errors
    assert "Traceback" not in errors
    draftless(tmp_path)


def test_a_failing_replacement_keeps_the_old_bundle(tiny_network, tmp_path, progress, monkeypatch, draftless):
    out = tmp_path / "tiny"
    request = ExportRequest(model=tiny_network, out=out, precisions=("fp32",), force=True)
    created = export_bundle(request, progress).manifest.created
    monkeypatch.setattr(pipeline, "simplify", break_weight)
    with pytest.raises(ParityError):
        export_bundle(request, progress)
    assert Bundle.open(out).manifest.created == created
    draftless(tmp_path, "tiny")


def never(*_):
    raise AssertionError("work began before the request was checked")


@pytest.fixture
def no_work(monkeypatch):
    monkeypatch.setattr(pipeline, "load_source", never)


def test_an_existing_bundle_needs_force(tiny_bundle, tiny_network, progress, no_work):
    with pytest.raises(OutputError, match="--force"):
        export_bundle(ExportRequest(model=tiny_network, out=tiny_bundle.folder), progress)


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path, tiny_network, progress, no_work):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not an edgeproof bundle"):
        export_bundle(ExportRequest(model=tiny_network, out=tmp_path, force=True), progress)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_output_that_cannot_be_written(tmp_path, tiny_network, progress, no_work):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        export_bundle(ExportRequest(model=tiny_network, out=tmp_path / "file" / "tiny"), progress)


@pytest.mark.parametrize("precisions", [("fp64",), ("int8",), ("fp16", "int8"), ()])
def test_precisions_that_cannot_be(tmp_path, tiny_network, progress, no_work, precisions):
    with pytest.raises(InputError, match="--precision fp32,fp16,int8"):
        export_bundle(ExportRequest(model=tiny_network, out=tmp_path / "t", precisions=precisions), progress)


def test_a_wrong_number_of_classes(tmp_path, progress, draftless):
    file = tmp_path / "fixed.py"
    file.write_text(
        "from torch import nn\ndef fixed():\n    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 7))\n"
    )
    request = ExportRequest(model=f"{file}:fixed", weights="factory", out=tmp_path / "out")
    with pytest.raises(TaskError, match=r"\(N, 10\)(.*\n)*.*\('N', 7\)"):
        export_bundle(request, progress)


def test_preprocessing_that_does_not_give_the_input(tmp_path, tiny_network, progress):
    preprocess = Preprocess(resize=64, crop=(64, 64), mean=(0.5,) * 3, std=(0.5,) * 3)
    request = ExportRequest(
        model=tiny_network, weights="factory", out=tmp_path / "out", preprocess=preprocess
    )
    with pytest.raises(InputError, match="3x64x64"):
        export_bundle(request, progress)


def test_random_weights_have_a_living_signal(tmp_path, progress):
    """An untrained MobileNetV2 has logits near 1e-9 until its batch norms are settled."""
    request = ExportRequest(
        model="mobilenet_v2", weights="random", out=tmp_path / "out", precisions=("fp32",)
    )
    bundle = export_bundle(request, progress)
    assert bundle.manifest.weights["source"] == "random"
    assert bundle.golden().outputs["output"].std(axis=0).max() > 1e-3


def test_the_form_can_be_chosen(tmp_path, tiny_network, progress):
    request = ExportRequest(
        model=tiny_network,
        weights="factory",
        out=tmp_path / "out",
        variant="standard",
        precisions=("fp32",),
        evaluation=10,
    )
    assert export_bundle(request, progress).manifest.input.shape == ("batch", 3, 224, 224)


def test_a_form_that_is_not_there(tmp_path, tiny_network, progress):
    with pytest.raises(ModelError, match="standard, small"):
        export_bundle(ExportRequest(model=tiny_network, out=tmp_path / "out", variant="huge"), progress)


def test_own_input_and_preprocessing(tmp_path, tiny_network, progress):
    preprocess = Preprocess(resize=(48, 48), crop=None, mean=(0,) * 3, std=(1,) * 3, interpolation="bicubic")
    request = ExportRequest(
        model=tiny_network,
        weights="factory",
        out=tmp_path / "out",
        input_shape=(3, 48, 48),
        preprocess=preprocess,
        precisions=("fp32",),
    )
    manifest = export_bundle(request, progress).manifest
    assert manifest.input.shape == ("batch", 3, 48, 48)
    assert manifest.preprocess == preprocess
    assert manifest.weights["source"] == "factory"


def test_the_draft_is_beside_the_output_and_not_in_a_foreign_folder(tiny_bundle):
    assert os.listdir(tiny_bundle.folder.parent) == ["tiny"]
