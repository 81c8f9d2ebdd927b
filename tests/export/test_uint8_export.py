"""An export whose models take pixels: proven, measured and recorded as it is shipped."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from PIL import Image

from edgeproof.calibration.passes.uint8_request import Uint8Request
from edgeproof.calibration.preflight.check import is_installed
from edgeproof.calibration.quantization import QuantizeRequest, quantize
from edgeproof.calibration.targets.base import Int8Request
from edgeproof.export.data.dataset import Split
from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.stages import pixels
from edgeproof.export.stages.feed import Feed
from edgeproof.runtime import Bundle, Preprocess, Runner, Session, verify
from edgeproof.runtime.errors import AccuracyError, InputError, ParityError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PRECISIONS = ("fp32", "fp16", "int8")


@pytest.fixture(scope="module")
def pixel_bundle(tiny_network, tmp_path_factory, progress) -> Bundle:
    """The bundle of the tiny network for pixels, blue first."""
    out = tmp_path_factory.mktemp("pixels") / "tiny"
    return export_bundle(ExportRequest(model=tiny_network, out=out, uint8=Uint8Request("bgr")), progress)


def pictures(bundle, digits, count=64):
    """Evaluation pictures as a bundle takes them."""
    return digits.evaluation.take(range(count)).tensor(bundle.manifest.preprocess)


def test_the_manifest_says_what_reaches_the_model(pixel_bundle, tiny_bundle):
    manifest = pixel_bundle.manifest
    assert (manifest.input.shape, manifest.input.dtype) == (("batch", 32, 32, 3), "uint8")
    served, trained = manifest.preprocess, tiny_bundle.manifest.preprocess
    assert served == trained.for_pixels("bgr")
    assert (served.mean, served.std, served.resize) == (trained.mean, trained.std, trained.resize)


def test_the_golden_inputs_are_pixels_and_a_quarter_of_the_bytes(pixel_bundle, tiny_bundle):
    golden, floats = pixel_bundle.golden(), tiny_bundle.golden()
    assert golden.input.dtype == np.uint8
    assert golden.input.nbytes * 4 == floats.input.nbytes
    assert np.array_equal(golden.outputs["output"], floats.outputs["output"]), "PyTorch saw the same pictures"


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_verifies(pixel_bundle, precision):
    assert pixel_bundle.manifest.models[precision].parity
    assert verify(pixel_bundle, precision)


def test_the_answers_are_those_of_the_float_input(pixel_bundle, tiny_bundle, digits):
    """FP32 within 1e-5 of the output's deviation, the others within a rounding or two."""
    for precision, limit in (("fp32", 1e-5), ("fp16", 5e-3), ("int8", 1e-2)):
        with Session(tiny_bundle.model_bytes(precision)) as session:
            wanted = session.run(pictures(tiny_bundle, digits))["output"]
        with Session(pixel_bundle.model_bytes(precision)) as session:
            got = session.run(pictures(pixel_bundle, digits))["output"]
        assert np.abs(wanted - got).max() / wanted.std() < limit, precision


def test_the_runner_gives_the_same_labels(pixel_bundle, tiny_bundle, digits):
    with (
        Runner.open(pixel_bundle, precision="fp32") as one,
        Runner.open(tiny_bundle, precision="fp32") as other,
    ):
        for position in range(16):
            image = digits.evaluation.load(position)
            assert one.predict(image).top[0].label == other.predict(image).top[0].label


def test_the_lineage_goes_through_the_float_models(pixel_bundle):
    manifest = pixel_bundle.manifest
    stages = [step["stage"] for step in manifest.lineage]
    assert stages == ["export", "simplify", "normalize", "fp16", "int8", *["uint8-input"] * 3]
    known = {step["sha256"]: step for step in manifest.lineage}
    for precision, before in (("fp32", "simplify"), ("fp16", "fp16"), ("int8", "int8")):
        assert known[manifest.models[precision].parent]["stage"] == before
    assert "uint8-input" in [step["name"] for step in manifest.stages]


def test_accuracy_and_the_compilers_word_are_on_what_is_shipped(pixel_bundle):
    for entry in pixel_bundle.manifest.models.values():
        assert entry.accuracy.samples == 360
        if is_installed():
            assert entry.preflight.accepted
            assert "1x32x32x3" in entry.preflight.message


def test_a_pass_that_breaks_the_model_stops_the_pipeline(
    tiny_network, tmp_path, progress, monkeypatch, draftless
):
    real = pixels.with_uint8_input

    def wrong(artifact, trained, served):
        return real(artifact, trained, replace(served, mean=(0.6, 0.5, 0.5)))

    monkeypatch.setattr(pixels, "with_uint8_input", wrong)
    request = ExportRequest(
        model=tiny_network, out=tmp_path / "out", precisions=("fp32",), uint8=Uint8Request()
    )
    with pytest.raises(ParityError, match="stage 'uint8-input'") as caught:
        export_bundle(request, progress)
    assert "first node that differs: Conv" in caught.value.details["available"]
    draftless(tmp_path)


def test_grey_pictures(tmp_path, progress):
    file = tmp_path / "grey.py"
    file.write_text(
        "from torch import nn\n"
        "def grey():\n"
        "    pool = nn.AdaptiveAvgPool2d(2)\n"
        "    return nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU(), pool, nn.Flatten(), nn.Linear(32, 10))\n"
    )
    request = ExportRequest(
        model=f"{file}:grey",
        out=tmp_path / "out",
        weights="factory",
        data="digits",
        input_shape=(1, 16, 16),
        precisions=("fp32",),
        uint8=Uint8Request(),
    )
    bundle = export_bundle(request, progress)
    assert bundle.manifest.input.shape == ("batch", 16, 16, 1)
    operators = [node.op_type for node in onnx.load_from_string(bundle.model_bytes("fp32")).graph.node]
    assert operators[:3] == ["Cast", "Transpose", "Conv"], "without padding all is in the convolution"
    with Runner.open(bundle) as runner:
        assert runner.predict(Image.new("L", (9, 9), 100)).top


def test_preprocessing_that_gives_pixels_already(tiny_network, tmp_path, progress):
    pixels = Preprocess((32, 32), None, (0.5,) * 3, (0.5,) * 3).for_pixels()
    request = ExportRequest(
        model=tiny_network, out=tmp_path / "out", weights="factory", preprocess=pixels, uint8=Uint8Request()
    )
    with pytest.raises(InputError, match="gives pixels, not normalized"):
        export_bundle(request, progress)


# --- frames that are resized in the graph -----------------------------------------------------------


@pytest.fixture
def ask_resizing(tiny_network, tmp_path):
    def ask(**changes):
        trained = Preprocess(36, (32, 32), (0.5,) * 3, (0.5,) * 3)
        request = ExportRequest(
            model=tiny_network,
            out=tmp_path / "out",
            preprocess=trained,
            precisions=("fp32",),
            uint8=Uint8Request("bgr", (48, 64)),
        )
        return replace(request, **changes)

    return ask


def test_resizing_in_the_graph_is_proven_and_judged(ask_resizing, progress, digits):
    bundle = export_bundle(ask_resizing(precisions=PRECISIONS), progress)
    manifest = bundle.manifest
    assert manifest.input.shape == ("batch", 48, 64, 3)
    assert (manifest.preprocess.source, manifest.preprocess.resize) == ((48, 64), 36)
    for precision in PRECISIONS:
        assert manifest.models[precision].parity
        assert verify(bundle, precision)
    accuracy = manifest.models["fp32"].accuracy
    assert (accuracy.samples, abs(accuracy.drop) <= 1) == (360, True)
    low, high = accuracy.ci95
    assert low <= accuracy.drop <= high
    with Runner.open(bundle, precision="fp32") as runner:
        assert runner.predict(digits.evaluation.load(0)).top


def test_a_drop_above_the_budget_publishes_nothing(ask_resizing, progress, tmp_path, monkeypatch, draftless):
    """Frames turned upside down in the graph alone: what follows is proven, and the labels are lost."""
    real = Preprocess.matrices

    def upside_down(self, height, width):
        rows, columns = real(self, height, width)
        return rows[:, ::-1], columns

    monkeypatch.setattr(Preprocess, "matrices", upside_down)
    with pytest.raises(AccuracyError, match="Resizing in the graph") as caught:
        export_bundle(ask_resizing(), progress)
    assert "95 % interval" in caught.value.details["got"]
    assert caught.value.exit_status == 1
    draftless(tmp_path)


@pytest.mark.parametrize("target", ["tensorrt", "cpu"])
def test_such_a_bundle_can_be_quantized_from_pictures(pixel_bundle, digits, tmp_path, progress, target):
    for position in range(24):
        digits.calibration.load(position).save(tmp_path / f"{position}.png")
    out = tmp_path / "int8.onnx"
    request = QuantizeRequest(pixel_bundle.folder, f"images:{tmp_path}", out, Int8Request(10), target)
    assert [attempt.recovered for attempt in quantize(request, progress).tried][:2] == [False, True]
    with Session(out.read_bytes()) as session:
        assert (session.input_dtype, session.input_shape[1:]) == ("uint8", (32, 32, 3))
    with pytest.raises(InputError, match="pixels already"):
        quantize(replace(request, uint8=Uint8Request()), progress)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_a_feed_shows_both_the_same_pictures(channels):
    images = [
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (20, 30, 3), np.uint8)) for i in range(5)
    ]
    split = Split(lambda i: images[i], np.zeros(5, np.int64))
    trained = Preprocess(16, (12, 12), MEAN, STD)
    feed = Feed(trained, trained.for_pixels(channels))
    floats, pixels = feed.both(split)
    assert np.array_equal(floats, split.tensor(trained))
    assert pixels.shape == (5, 12, 12, 3)
    assert [len(pair[0]) for pair in feed.batches(split, 2)] == [2, 2, 1]
