"""timm's networks: their preprocessing is timm's own, and their weights come from a file or its hub."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.sources import registry
from edgeproof.export.stages.source import load_source
from edgeproof.runtime.errors import MissingDependency, ModelError, WeightsError

timm = pytest.importorskip("timm")

SMALL = "timm:mobilenetv3_small_050"
# Crops of 0.875, 0.887, 0.95, 1.0 and 0.9; bicubic and bilinear; other means; squashed, also to 1024 x 768.
PREPARED = (
    "mobilenetv3_small_050",
    "cspresnet50",
    "resnet50.a1_in1k",
    "test_vit",
    "vit_base_patch16_clip_224",
    "dm_nfnet_f0",
    "vit_small_patch16_lingbot",
    "vit_base_patch16_sapiens2",
)
SIZES = ((300, 200), (97, 411), (256, 256), (500, 375))  # width and height of pictures


def picture(width, height):
    """Smooth grounds with noise and edges, so that resampling and rounding show."""
    generator = np.random.default_rng(width)
    ground = np.add.outer(np.linspace(0, 160, height), np.linspace(0, 60, width))[..., None]
    pixels = ground + generator.integers(0, 36, (height, width, 3))
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (255, 0, 128)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize("name", PREPARED)
def test_pictures_are_prepared_bit_for_bit_as_timm_does(name):
    config = timm.get_pretrained_cfg(name).to_dict()
    resolved = timm.data.resolve_data_config(pretrained_cfg=config)
    transform = timm.data.create_transform(**resolved, is_training=False)
    spec = registry.find(f"timm:{name}")
    assert spec.standard.input_shape == resolved["input_size"]
    for size in SIZES:
        image = picture(*size)
        np.testing.assert_array_equal(spec.preprocess(image), transform(image).numpy())


def test_every_network_of_timm_is_described_or_refused_for_its_borders():
    refused = {}
    for name in timm.list_models():
        try:
            spec = registry.find(f"timm:{name}")
        except ModelError as error:
            refused[name] = error.details["got"]
            continue
        assert spec.preprocess.size == spec.standard.input_shape[1:]
    assert all("border" in got for got in refused.values())
    assert len(refused) < len(timm.list_models()) / 100


def test_a_network_of_fixed_size_has_no_small_variant():
    assert registry.find("timm:test_vit").small is None
    assert registry.find(SMALL).small.input_shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("name", "message", "offered"),
    [
        ("mobilnetv3_small_050", "no network named", "mobilenetv3_small_050"),
        ("mobilenetv3_small_050.other", "with the tag 'other'", "mobilenetv3_small_050.lamb_in1k"),
    ],
)
def test_unknown_names_offer_close_ones(name, message, offered):
    with pytest.raises(ModelError, match=message) as caught:
        registry.find(f"timm:{name}")
    assert offered in caught.value.details["available"]


def test_without_timm_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingDependency, match="timm"):
        registry.find(SMALL)


def test_without_a_network_published_weights_are_a_clear_error(monkeypatch):
    def create(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(WeightsError, match="cannot be downloaded") as caught:
        registry.find(SMALL).pretrained()
    assert "--weights FILE" in caught.value.details["to do"]


def test_a_checkpoint_brings_timms_preprocessing_and_its_averaged_weights(tmp_path, progress):
    torch.manual_seed(0)
    plain, averaged = (timm.create_model("mobilenetv3_small_050", num_classes=10).state_dict() for _ in "ab")
    torch.save({"epoch": 3, "state_dict": plain, "state_dict_ema": averaged}, tmp_path / "checkpoint.pth")
    request = ExportRequest(
        model=SMALL,
        weights=str(tmp_path / "checkpoint.pth"),
        data="digits",
        variant="standard",
        out=tmp_path / "out",
    )
    source = load_source(request, progress)
    preprocess = registry.find(SMALL).preprocess
    assert source.feed.trained == preprocess
    inputs = preprocess(picture(300, 200))[None]
    (found,) = source.origin.answers(inputs).values()
    network = timm.create_model("mobilenetv3_small_050", num_classes=10).eval()
    answers = []
    for state in (averaged, plain):
        network.load_state_dict(state)
        with torch.inference_mode():
            answers.append(network(torch.from_numpy(inputs)).numpy())
    np.testing.assert_allclose(found, answers[0], rtol=1e-4)
    assert not np.allclose(found, answers[1], rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "test_vit"])
def test_it_becomes_a_bundle(name, tmp_path, progress):
    request = ExportRequest(
        model=f"timm:{name}", weights="random", data="digits", out=tmp_path / "out", evaluation=16
    )
    bundle = export_bundle(request, progress)
    assert bundle.manifest.architecture == name
    assert set(bundle.manifest.models) == {"fp32", "fp16", "int8"}
    assert bundle.manifest.models["fp32"].parity.passed
