"""Whose preprocessing, labels and weights an export takes, seen in the bundle that comes out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from edgeproof.export import ExportRequest, array_dataset, export_bundle
from edgeproof.export.data.dataset import photograph_preprocess
from edgeproof.export.models.spec import ModelSpec, Variant
from edgeproof.export.pretrained import weights
from edgeproof.export.pretrained.weights import from_factory, from_file
from edgeproof.export.sources import registry
from edgeproof.runtime import Preprocess, Runner

MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
CATEGORIES = ("tench", "goldfish", "great white shark")
TRANSFORMS = SimpleNamespace(
    resize_size=[20], crop_size=[16], interpolation=SimpleNamespace(value="bicubic"), mean=MEAN, std=STD
)


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 7 * 7, classes)
    )


@pytest.fixture
def pictures():
    """Pictures in memory whose class names are not those of the weights."""
    generator = np.random.default_rng(0)
    parts = [generator.integers(0, 256, (12, 24, 24, 3), dtype=np.uint8) for _ in range(2)]
    labels = np.arange(12) % 3
    return array_dataset(
        evaluation=(parts[0], labels), calibration=(parts[1], labels), classes=("a", "b", "c")
    )


@pytest.fixture
def published(monkeypatch, tmp_path):
    """A small architecture in the registry, with weights as torchvision publishes them."""
    file = tmp_path / "published.pth"
    torch.save(network().state_dict(), file)
    spec = ModelSpec("small", "test", Variant("standard", (3, 16, 16), network), torchvision_name="small")
    enum = SimpleNamespace(url="", meta={"categories": CATEGORIES}, transforms=lambda: TRANSFORMS)
    monkeypatch.setattr(registry, "find", lambda _: spec)
    monkeypatch.setattr("edgeproof.export.sources.torchvision.default_weights", lambda _: enum)
    monkeypatch.setattr(weights, "_download", lambda _: file)


def export(tmp_path, pictures, **options):
    request = ExportRequest(out=tmp_path / "out", data=pictures, precisions=("fp32",), **options)
    return export_bundle(request)


def test_published_weights_bring_their_labels_and_their_preprocessing(published, pictures, tmp_path):
    bundle = export(tmp_path, pictures, model="small", weights="imagenet")
    assert bundle.manifest.labels == CATEGORIES
    assert bundle.manifest.preprocess == Preprocess(20, (16, 16), MEAN, STD, interpolation="bicubic")
    assert {picture.label for picture in bundle.manifest.pictures} <= set(CATEGORIES)


def test_the_users_own_preprocessing_wins_over_that_of_the_weights(published, pictures, tmp_path):
    own = Preprocess(resize=(16, 16), crop=None, mean=(0.5,) * 3, std=(0.25,) * 3)
    bundle = export(tmp_path, pictures, model="small", weights="imagenet", preprocess=own)
    assert bundle.manifest.preprocess == own
    golden = bundle.golden()
    assert np.allclose(golden.input[0], own(pictures.evaluation.load(0)))


def test_probabilities_are_not_made_probabilities_twice(pictures, tmp_path):
    ends_in_softmax = nn.Sequential(network(), nn.Softmax(dim=1)).eval()
    preprocess = Preprocess(resize=(16, 16), crop=None, mean=MEAN, std=STD)
    bundle = export(tmp_path, pictures, model=ends_in_softmax, preprocess=preprocess)
    picture = pictures.evaluation.load(0)
    with torch.inference_mode():
        wanted = ends_in_softmax(torch.from_numpy(preprocess(picture)[None]))[0]
    with Runner.open(bundle, precision="fp32", provider="cpu") as runner:
        top = runner.predict(picture).top
    assert bundle.manifest.outputs[0].scores == "probabilities"
    assert [score.probability for score in top] == pytest.approx(sorted(wanted.tolist())[::-1], abs=1e-5)


@pytest.mark.parametrize("load", ["file", "factory"])
def test_a_network_is_exported_in_evaluation_mode(tmp_path, load):
    variant = Variant("standard", (3, 16, 16), network)
    torch.save(network().state_dict(), tmp_path / "weights.pth")
    trained = from_file(variant, tmp_path / "weights.pth", 3) if load == "file" else from_factory(variant, 3)
    assert not any(module.training for module in trained.network.modules())


def test_preprocessing_that_nobody_named_is_warned_about(pictures, tmp_path):
    """The weights are the user's own, and the pictures large: how they were prepared cannot be known."""
    large = replace(pictures, small=False, preprocess=photograph_preprocess)
    options = {"model": network().eval(), "input_shape": (3, 16, 16)}
    (warning, *_) = export(tmp_path, large, **options).manifest.verdict.warnings
    assert "nothing says how the training prepared its pictures" in warning
    assert "--preprocess FILE.json" in warning
    own = Preprocess(resize=(16, 16), crop=None, mean=MEAN, std=STD)
    (tmp_path / "named").mkdir()
    named = export(tmp_path / "named", large, **options, preprocess=own).manifest.verdict
    assert not any("nothing says" in warning for warning in named.warnings)
