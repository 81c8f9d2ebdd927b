"""A trained ONNX file as the start of an export, to a bundle that a device runs and verifies."""

import numpy as np
import onnx
import pytest

from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.sources.onnx_file import OnnxOrigin
from edgeproof.runtime import Bundle, Runner, verify
from edgeproof.runtime.errors import DataError, ExportError, ModelError, TaskError, WeightsError

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w1": (RANDOM.normal(size=(8, 3, 3, 3)) / 5).astype(np.float32),
    "w2": RANDOM.normal(size=(11, 8, 1, 1)).astype(np.float32),
    "w3": RANDOM.normal(size=(8, 10)).astype(np.float32),
    "w4": RANDOM.normal(size=(8, 4)).astype(np.float32),
    "axes": np.array([2, 3]),
    "two": np.array([2, 10]),
    "rows": RANDOM.normal(size=(2, 10)).astype(np.float32),
}
FEATURES = "a = Conv<pads = [1, 1, 1, 1]>(x, w1) b = Relu(a)"
MAP = f"(float[{{n}},11,{{h}},{{h}}] y) {{{{ {FEATURES} y = Conv(b, w2) }}}}"
TWO = (
    f"(float[{{n}},10] y, float[{{n}},4] z) {{{{ {FEATURES} p = ReduceMean<keepdims = 0>(b, axes) "
    "y = MatMul(p, w3) z = MatMul(p, w4) }}"
)
RESHAPED = (
    f"(float[{{n}},10] y) {{{{ {FEATURES} p = ReduceMean<keepdims = 0>(b, axes) q = MatMul(p, w3) "
    "y = Reshape(q, SHAPE) }}"
)
TURNED = RESHAPED.replace("Reshape(q, SHAPE)", "Add(q, rows)")


@pytest.fixture
def save(tmp_path):
    """save(outputs and nodes, n="n", h=64): writes a file."""

    def save(text, n="n", h=64):
        body = text.format(n=n, h=h)
        model = onnx.parser.parse_model(
            f'<ir_version: 8, opset_import: ["" : 18]> g (float[{n},3,{h},{h}] x) => {body}'
        )
        read = {name for node in model.graph.node for name in node.input}
        held = {name: values for name, values in WEIGHTS.items() if name in read}
        model.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in held.items())
        onnx.save_model(model, tmp_path / "street.onnx")
        return str(tmp_path / "street.onnx")

    return save


@pytest.fixture
def export(tmp_path, progress):
    """export(file, **changes): what `export_bundle` makes of it, in float32 and float16."""

    def export(file, **changes):
        wished = {"precisions": ("fp32", "fp16"), "evaluation": 12, "data": "digit-scenes", **changes}
        return export_bundle(ExportRequest(model=file, out=tmp_path / "bundle", **wished), progress)

    return export


def test_a_segmenter_becomes_a_bundle_that_runs_and_verifies(save, export, tmp_path):
    file = save(MAP)
    bundle = export(file, task="segmentation")
    manifest = bundle.manifest
    assert manifest.task == {"name": "segmentation", "threshold": None}
    assert (manifest.architecture, manifest.form, manifest.weights["source"]) == ("street", "file", "file")
    assert manifest.labels[:2] == ("background", "0")
    assert manifest.models["fp16"].accuracy.metric == "mIoU"
    assert manifest.models["fp32"].parity.agreement == 1
    assert [entry["stage"] for entry in manifest.lineage][:3] == ["file", "simplify", "normalize"]
    assert verify(Bundle.open(bundle.folder), "fp16", "cpu")
    with Runner.open(bundle, precision="fp32", provider="cpu") as runner:
        result = runner.predict(bundle.folder / manifest.pictures[0].file)
    assert sum(area["share"] for area in result.row["areas"]) <= 1
    golden = bundle.golden()
    with_file = OnnxOrigin(tmp_path / "street.onnx").answers(golden.input)
    assert np.array_equal(golden.outputs["y"], with_file["y"])


def test_an_int8_model_of_several_outputs_is_made_and_each_is_judged(save, export):
    bundle = export(save(TWO, h=32), data="digits", precisions=("fp32", "fp16", "int8"), recover="off")
    assert bundle.manifest.task == {"name": "raw", "metric_function": ""}
    parity = bundle.manifest.models["int8"].parity
    assert [part.name for part in parity.parts] == ["y", "z"]
    assert all(0 < part.relative_l2 < 0.35 for part in parity.parts)
    assert bundle.manifest.models["int8"].accuracy.metric == "cosine of the signal"


def test_a_fixed_batch_becomes_any(save, export):
    bundle = export(save(MAP, n=1), task="segmentation")
    assert bundle.manifest.input.shape == ("batch", 3, 64, 64)


def test_a_reshape_that_names_the_batch_is_opened_too(save, export):
    bundle = export(save(RESHAPED.replace("SHAPE", "two"), n=2, h=32), data="digits", task="classification")
    assert bundle.manifest.input.shape == ("batch", 3, 32, 32)


def test_a_batch_of_several_that_cannot_be_opened_is_refused(save, export):
    with pytest.raises(ExportError, match="takes batches of 2 only"):
        export(save(TURNED, n=2, h=32), data="digits", task="classification")


def test_open_sides_are_asked_for(save, export):
    file = save(MAP, h="side")
    with pytest.raises(ModelError, match="is not known") as caught:
        export(file, task="segmentation")
    assert "--input" in str(caught.value)
    assert export(file, task="segmentation", input_shape=(3, 64, 64))


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"data": None}, DataError, "no data set of its own"),
        ({"weights": "demo"}, WeightsError, "leave --weights out"),
        ({"variant": "small"}, WeightsError, "leave --form out"),
        ({"task": "classification", "data": "digits"}, TaskError, "is no classification"),
        ({"task": "detection:yolov8"}, TaskError, "no detection of the layout yolov8"),
        ({"task": "segmentation", "data": "digits"}, DataError, "no truth for segmentation"),
        ({"task": "segmentation", "input_shape": (3, 64)}, ModelError, "another number of sides"),
    ],
)
def test_what_does_not_fit_is_refused(save, export, changes, error, message):
    with pytest.raises(error, match=message):
        export(save(MAP), **changes)
