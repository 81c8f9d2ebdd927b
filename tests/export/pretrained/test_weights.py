"""Demo weights are trained once; torchvision's are found, checked, or asked for by name."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgeproof.export.pretrained import weights
from edgeproof.export.pretrained.weights import from_demo, from_factory, from_imagenet
from edgeproof.export.sources import registry
from edgeproof.export.sources.resolve import configure
from edgeproof.runtime.errors import WeightsError


def test_demo_weights_are_kept_for_next_time(sample, tiny_network, digits, progress, monkeypatch):
    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(weights, "train", never)
    spec = registry.find(tiny_network)
    variant = spec.variant_for(small_data=True)
    again = from_demo(spec, variant, digits, digits.preprocess(variant.input_shape), progress)
    assert torch.equal(again.network.classifier.weight, sample.network.classifier.weight)
    assert again.record.source == "demo"
    assert len(again.record.sha256) == 64


def test_a_changed_network_is_trained_anew(sample, tiny_network, digits, progress, tmp_path, monkeypatch):
    """Same names, same shapes, other code: the kept weights would be wrong without any error."""
    source = Path(tiny_network.rpartition(":")[0]).read_text()
    (tmp_path / "tiny_network.py").write_text(source.replace("x + self.block(x)", "x - self.block(x)"))
    trained = []
    monkeypatch.setattr(weights, "train", lambda network, *_: trained.append(network))
    spec = registry.find(f"{tmp_path / 'tiny_network.py'}:tiny")
    variant = spec.variant_for(small_data=True)
    from_demo(spec, variant, digits, digits.preprocess(variant.input_shape), progress)
    assert len(trained) == 1


def test_demo_weights_need_something_to_train_on(tiny_network, digits, progress):
    spec = registry.find(tiny_network)
    variant = spec.variant_for(small_data=True)
    with pytest.raises(WeightsError, match="no part to train"):
        from_demo(
            spec, variant, replace(digits, train=None), digits.preprocess(variant.input_shape), progress
        )


def test_factory_weights_are_the_same_each_time(tiny_network):
    variant = registry.find(tiny_network).standard
    assert from_factory(variant, 10).record.sha256 == from_factory(variant, 10).record.sha256
    assert from_factory(variant, 10).record.sha256 != from_factory(variant, 9).record.sha256


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """torch.hub's cache is empty, and nothing can be downloaded."""

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints"


def test_without_network_the_file_and_its_folder_are_named(offline):
    spec = registry.find("mobilenet_v3_small")
    with pytest.raises(WeightsError) as caught:
        from_imagenet(spec, spec.standard)
    assert "mobilenet_v3_small-047dcff4.pth" in caught.value.details["wanted"]
    assert str(offline) in caught.value.details["to do"]
    assert caught.value.exit_status == 2


def test_a_damaged_download_is_not_used(offline):
    offline.mkdir(parents=True)
    (offline / "mobilenet_v3_small-047dcff4.pth").write_bytes(b"half a file")
    spec = registry.find("mobilenet_v3_small")
    with pytest.raises(WeightsError, match="is damaged"):
        from_imagenet(spec, spec.standard)


def test_the_small_form_and_own_networks_have_no_imagenet_weights(tiny_network):
    mobilenet = registry.find("mobilenet_v3_small")
    own = registry.find(tiny_network)
    for spec, variant in ((mobilenet, mobilenet.small), (own, own.standard)):
        with pytest.raises(WeightsError, match="no ImageNet weights"):
            from_imagenet(spec, variant)


def published(monkeypatch, tmp_path, network):
    """Stand a network's own weights in for the published ones."""
    torch.save(network.state_dict(), tmp_path / "published.pth")
    monkeypatch.setattr(weights, "_download", lambda url: tmp_path / "published.pth")


def test_googlenets_published_weights_convert_their_input(monkeypatch, tmp_path):
    spec = registry.find("googlenet")
    published(monkeypatch, tmp_path, spec.standard.build(1000))
    assert from_imagenet(spec, spec.standard).network.transform_input is True


def test_published_weights_are_not_those_of_another_width(monkeypatch, tmp_path):
    spec = registry.find("mobilenet_v2")
    published(monkeypatch, tmp_path, spec.standard.build(1000))
    with pytest.raises(WeightsError, match="of another shape"):
        from_imagenet(spec, configure(spec.standard, {"width": 0.5}, None))


def test_published_weights_bring_their_preprocessing_and_labels(shared_data, offline, monkeypatch):
    from torchvision.models import MobileNet_V2_Weights

    published = MobileNet_V2_Weights.IMAGENET1K_V1
    monkeypatch.setattr("edgeproof.export.sources.torchvision.default_weights", lambda _: published)
    offline.mkdir(parents=True)
    shutil.copy(shared_data / "mobilenet_v2-b0353104.pth", offline)
    spec = registry.find("mobilenet_v2")
    trained = from_imagenet(spec, spec.standard)
    assert trained.record.source == "imagenet"
    assert trained.labels[207] == "golden retriever"
    assert trained.preprocess.resize == 256
    assert trained.preprocess.crop == (224, 224)
    assert trained.preprocess.mean == tuple(published.transforms().mean)
