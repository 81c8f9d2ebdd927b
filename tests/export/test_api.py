"""Exports from memory: a live network and arrays, as a program calls them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from edgeproof.export import ExportRequest, array_dataset, export_bundle
from edgeproof.runtime import Preprocess, Runner, verify
from edgeproof.runtime.errors import DataError, InputError, ModelError, TaskError, WeightsError

CLASSES = ("left", "right")
PREPROCESS = Preprocess(resize=(12, 12), crop=None, mean=(0.5,) * 3, std=(0.5,) * 3)


def network(channels: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(400, 2)
    ).eval()


def samples(count: int = 20, shape: tuple[int, ...] = (3, 12, 12)) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, *shape)).astype(np.float32)


def labels(count: int = 20) -> np.ndarray:
    return np.arange(count) % 2


TENSORS = array_dataset(
    evaluation=(samples(), labels()), calibration=(samples(18), labels(18)), classes=CLASSES
)


@pytest.fixture
def request_for(tmp_path):
    def make(**changes) -> ExportRequest:
        usual = ExportRequest(model=network(), data=TENSORS, out=tmp_path / "out", precisions=("fp32",))
        return replace(usual, **changes)

    return make


def test_a_network_and_tensors_become_a_bundle(tmp_path, capfd):
    live = network()
    before = {name: value.clone() for name, value in live.state_dict().items()}
    bundle = export_bundle(ExportRequest(model=live, data=TENSORS, target="cpu", out=str(tmp_path / "out")))
    assert capfd.readouterr() == ("", ""), "a library is silent"
    manifest = bundle.manifest
    assert set(manifest.models) == {"fp32", "fp16", "int8"}
    assert (manifest.input.shape, manifest.preprocess) == (("batch", 3, 12, 12), None)
    assert (manifest.labels, manifest.architecture, manifest.data["name"]) == (
        CLASSES,
        "Sequential",
        "arrays",
    )
    assert (manifest.data["calibration"]["count"], manifest.data["evaluation"]["count"]) == (18, 20)
    assert manifest.weights["source"] == "module"
    assert manifest.weights["class"] == "torch.nn.modules.container.Sequential"
    assert len(manifest.weights["sha256"]) == 64
    assert verify(bundle, "int8", provider="cpu")
    with torch.inference_mode():
        wanted = live(torch.from_numpy(bundle.golden().input)).numpy()
    assert np.array_equal(bundle.golden().outputs["output"], wanted)
    assert all(torch.equal(value, before[name]) for name, value in live.state_dict().items())
    assert all(parameter.requires_grad for parameter in live.parameters())


@pytest.mark.parametrize(("sides", "channels"), [((20, 30, 3), 3), ((20, 30), 1)])
def test_pictures_are_prepared_as_the_request_says(request_for, sides, channels):
    pictures = np.random.default_rng(0).integers(0, 256, (20, *sides), dtype=np.uint8)
    data = array_dataset(
        evaluation=(pictures, labels()), calibration=(pictures[:8], labels(8)), classes=CLASSES, name="mine"
    )
    color = "rgb" if channels == 3 else "gray"
    preprocess = replace(PREPROCESS, mean=(0.5,) * channels, std=(0.5,) * channels, color=color)
    live = network(channels)
    bundle = export_bundle(request_for(model=live, data=data, preprocess=preprocess))
    assert bundle.manifest.preprocess == preprocess
    assert bundle.manifest.data["name"] == "mine"
    picture = data.evaluation.load(3)
    with torch.inference_mode():
        wanted = live(torch.from_numpy(preprocess(picture)[None])).softmax(1)[0]
    with Runner.open(bundle, precision="fp32", provider="cpu") as runner:
        best = runner.predict(picture).top[0]
    assert (best.label, best.probability) == (
        CLASSES[int(wanted.argmax())],
        pytest.approx(float(wanted.max()), abs=1e-5),
    )


def test_the_data_set_of_a_network_may_be_one_by_name(request_for):
    live = nn.Sequential(network(), nn.Linear(2, 10)).eval()
    bundle = export_bundle(request_for(model=live, data="digits", input_shape=(3, 12, 12), evaluation=20))
    assert bundle.manifest.data["name"] == "digits"
    assert bundle.manifest.preprocess.size == (12, 12)


def training() -> nn.Module:
    live = network()
    live[1].train()
    return live


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"model": training()},
            ModelError,
            r"training mode(.*\n)*.*in training mode: 1(.*\n)*.*network.eval",
        ),
        ({"model": network().to("meta")}, ModelError, r"not on the CPU(.*\n)*.*0.weight on meta"),
        ({"model": network().double()}, ModelError, r"float32(.*\n)*.*0.weight is float64"),
        ({"model": network(4)}, ModelError, r"does not take an input of shape \(20, 3, 12, 12\)"),
        ({"weights": "imagenet"}, WeightsError, "has its weights already"),
        ({"data": None}, InputError, "no data set of its own"),
        ({"data": "digits"}, InputError, "does not tell the size of its input"),
        ({"input_shape": (3, 16, 16)}, DataError, r"3x16x16(.*\n)*.*tensors of shape 3x12x12"),
        ({"variant": "small"}, ModelError, "no variant named 'small'"),
        ({"options": {"width": "0.5"}}, ModelError, "no option 'width'"),
        ({"model": nn.Sequential(network(), nn.Linear(2, 5)).eval()}, TaskError, r"\(N, 2\)"),
    ],
)
def test_what_cannot_be_exported_is_refused(request_for, changes, kind, message):
    request = request_for(**changes)
    with pytest.raises(kind, match=message):
        export_bundle(request)
    assert not request.out.exists()


def test_pictures_without_preprocessing_are_refused(request_for):
    pictures = np.zeros((20, 12, 12, 3), np.uint8)
    data = array_dataset(evaluation=(pictures, labels()), calibration=(pictures, labels()), classes=CLASSES)
    with pytest.raises(DataError, match="without preprocessing"):
        export_bundle(request_for(data=data, input_shape=(3, 12, 12)))
