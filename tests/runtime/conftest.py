"""A small bundle whose answers are known, and ways to damage it."""

import dataclasses
import hashlib
import io
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgeproof.runtime.accuracy import paired_accuracy
from edgeproof.runtime.bundle import Bundle
from edgeproof.runtime.manifest import (
    FileEntry,
    Manifest,
    ModelEntry,
    OutputSpec,
    Preflight,
    TensorSpec,
    Verdict,
)
from edgeproof.runtime.parity import TOLERANCES, compare
from edgeproof.runtime.preprocess import Preprocess

LABELS = ("red", "green", "blue", "dark")
COLOURS = {"red": (250, 5, 5), "green": (5, 250, 5), "blue": (5, 5, 250), "dark": (3, 3, 3)}
# From the mean of each channel (-1..1) to a score for each label.
WEIGHTS = np.array(
    [[4.001, -1.1, -1.2, -2.003], [-1.3, 4.002, -1.4, -2.005], [-1.5, -1.6, 4.003, -2.007]], np.float32
)
BIAS = np.array([0.1, 0.2, 0.3, 0.4], np.float32)


def _model(weights=WEIGHTS, bias=BIAS, softmax=False):
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["means"]),
        helper.make_node("Gemm", ["means", "weights", "bias"], ["gemm" if softmax else "scores"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["gemm"], ["scores"], axis=-1))
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _answers(inputs, weights=WEIGHTS, softmax=False):
    scores = inputs.mean(axis=(2, 3), dtype=np.float64) @ weights.astype(np.float64) + BIAS
    if softmax:
        powers = np.exp(scores)
        scores = powers / powers.sum(axis=1, keepdims=True)
    return scores.astype(np.float32)


def _golden_inputs():
    random = np.random.default_rng(7)
    colours = random.uniform(-1, 1, (6, 3, 1, 1))
    return (colours + random.normal(0, 0.05, (6, 3, 8, 8))).astype(np.float32)


def _write(folder, name, data):
    (folder / name).write_bytes(data)
    return FileEntry(name, hashlib.sha256(data).hexdigest(), len(data))


def _npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.fixture(scope="session")
def tiny_model():
    """tiny_model(weights=..., bias=..., softmax=...): the colour classifier as ONNX bytes."""
    return _model


@pytest.fixture(scope="session")
def npz():
    """npz(name=array, ...): the bytes of a .npz file."""
    return _npz


@pytest.fixture(scope="session")
def colours():
    """One colour for each label of the bundle."""
    return COLOURS


@pytest.fixture(scope="session")
def write_bundle():
    """write_bundle(folder, softmax=False, **changes): a valid bundle; changes replace manifest fields."""

    def write(folder, softmax=False, **changes):
        folder.mkdir(parents=True)
        inputs = _golden_inputs()
        answers = _answers(inputs, softmax=softmax)
        models = {}
        half = WEIGHTS.astype(np.float16).astype(np.float32)
        for precision, weights in (("fp32", WEIGHTS), ("fp16", half)):
            got = _answers(inputs, weights, softmax)
            file = _write(folder, f"model.{precision}.onnx", _model(weights, softmax=softmax))
            models[precision] = ModelEntry(
                **dataclasses.asdict(file),
                nodes=4 if softmax else 3,
                parity=compare(answers, got, TOLERANCES[precision], output="scores"),
                accuracy=paired_accuracy(answers.argmax(axis=1), answers, got),
                preflight=Preflight("a compiler", True, "accepted"),
            )
        manifest = Manifest(
            schema=1,
            name="colours",
            architecture="mean_and_gemm",
            form="small",
            edgeproof="0.1.0",
            created="2026-01-02T03:04:05+00:00",
            weights={"source": "demo"},
            data={"name": "colours"},
            input=TensorSpec("input", ("batch", 3, 8, 8), "float32"),
            outputs=(
                OutputSpec(
                    "scores", ("batch", len(LABELS)), "float32", "probabilities" if softmax else "logits"
                ),
            ),
            preprocess=Preprocess(resize=8, crop=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
            labels=LABELS,
            models=models,
            golden=_write(folder, "golden.npz", _npz(input=inputs, output=answers)),
            verdict=Verdict("fp16", "it holds the budget"),
            toolchain={"python": "3.11"},
        )
        manifest = dataclasses.replace(manifest, **changes)
        (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def bundle_folder(write_bundle, tmp_path):
    """A valid bundle with fp32 and fp16, which labels a picture by its colour."""
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def bundle(bundle_folder):
    """The same, opened."""
    return Bundle.open(bundle_folder)


@pytest.fixture
def manifest_json(bundle_folder):
    """The bundle's manifest as parsed JSON, to be changed at will."""
    return json.loads((bundle_folder / "manifest.json").read_text())


@pytest.fixture(scope="session")
def edit_manifest():
    """edit_manifest(folder, change): apply change(dict) to the manifest on disk."""

    def edit(folder, change):
        path = folder / "manifest.json"
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return edit


@pytest.fixture(scope="session")
def replace_file(edit_manifest):
    """replace_file(folder, name, data): put other bytes there, with a manifest that vouches for them."""

    def replace(folder, name, data):
        entry = dataclasses.asdict(_write(folder, name, data))

        def change(manifest):
            for old in (*manifest["models"].values(), manifest["golden"]):
                if old["file"] == name:
                    old.update(entry)

        edit_manifest(folder, change)

    return replace


@pytest.fixture(scope="session")
def paint():
    """paint(path, label, size=(12, 10), mode="RGB"): save a picture of one of the bundle's colours."""

    def save(path, label, size=(12, 10), mode="RGB"):
        Image.new("RGB", size, COLOURS[label]).convert(mode).save(path)
        return path

    return save
