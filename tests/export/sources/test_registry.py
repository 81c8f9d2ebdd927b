"""From names to architectures."""

import pytest
import torch

from edgeproof.export.sources import registry
from edgeproof.export.sources import torchvision as from_torchvision
from edgeproof.runtime.errors import ModelError

# Parameters of the published networks with 1000 classes, as torchvision's documentation gives them.
PARAMETERS = {"mobilenet_v2": 3_504_872, "mobilenet_v3_small": 2_542_856, "mobilenet_v3_large": 5_483_032}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameter_counts(name):
    network = registry.find(name).standard.build(1000)
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[name]


def test_alias():
    assert registry.find("mobilenet_v3") is registry.find("mobilenet_v3_large")


@pytest.mark.parametrize("name", PARAMETERS)
def test_small_data_gets_the_small_form_whose_stem_keeps_the_size(name):
    spec = registry.find(name)
    small, standard = spec.variant_for(small_data=True), spec.variant_for(small_data=False)
    assert (small.name, standard.name) == ("small", "standard")
    pixels = torch.zeros(1, *small.input_shape)
    assert small.build(10).features[0].eval()(pixels).shape[-1] == 32
    assert standard.build(10).features[0].eval()(pixels).shape[-1] == 16


def test_the_forms_share_their_weights():
    spec = registry.find("mobilenet_v3_small")
    spec.small.build(7).load_state_dict(spec.standard.build(7).state_dict())


def test_torchvision_names():
    spec = registry.find("squeezenet1_1")
    assert spec.torchvision_name == "squeezenet1_1"
    assert spec.standard.build(5).eval()(torch.zeros(1, 3, 224, 224)).shape == (1, 5)
    assert spec.small.input_shape == (3, 64, 64)


def test_a_torchvision_network_that_cannot_take_small_pictures_has_no_small_form():
    assert from_torchvision.spec("inception_v3").variant_for(small_data=True).input_shape == (3, 299, 299)


def test_an_unknown_name_offers_close_ones():
    with pytest.raises(ModelError) as caught:
        registry.find("mobilnet_v3")
    assert "mobilenet_v3" in caught.value.details["available"]
    assert "edgeproof models" in caught.value.details["to do"]


OWN = """
from torch import nn

LIMIT = 3

def fixed():
    return nn.Conv2d(3, 4, 1)

def sized(num_classes):
    return nn.Linear(2, num_classes)

def wrong():
    return "not a network"

def broken(num_classes=2):
    raise KeyError("weights.pth")
"""


@pytest.fixture
def own(tmp_path):
    file = tmp_path / "own_networks.py"
    file.write_text(OWN)
    return file


def test_own_factories(own):
    assert registry.find(f"{own}:fixed").standard.build(9).out_channels == 4
    assert registry.find(f"{own}:sized").standard.build(9).out_features == 9
    assert registry.find(f"{own}:sized").name == "sized"


def test_own_module_beside_the_working_folder(own, monkeypatch):
    monkeypatch.chdir(own.parent)
    assert registry.find("own_networks:sized").standard.build(3).out_features == 3


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("absent", "no factory named"),
        ("LIMIT", "no factory named"),
        ("wrong", "network"),
        ("broken", "KeyError"),
    ],
)
def test_factories_that_fail(own, factory, message):
    with pytest.raises(ModelError, match=message):
        registry.find(f"{own}:{factory}").standard.build(2)


@pytest.mark.parametrize("suffix", ["", ":", ":absent"])
def test_a_file_without_a_factory_lists_its_functions_first(own, suffix):
    own.write_text(
        "from os import getcwd\n\nclass Ahead(nn.Module):\n    pass\n".join(["from torch import nn\n", OWN])
    )
    with pytest.raises(ModelError) as caught:
        registry.find(f"{own}{suffix}")
    assert caught.value.details["available"] == "broken, fixed, sized, wrong, Ahead"
    assert caught.value.details["to do"] == f"edgeproof export {own}:broken ..."


def test_torchvision_by_its_prefix_is_never_the_registrys_own():
    assert registry.find("torchvision:mobilenet_v2").source == "torchvision"
    assert registry.find("mobilenet_v2").source != "torchvision"
    with pytest.raises(ModelError, match="no model named 'lenet'"):
        registry.find("torchvision:lenet")


@pytest.mark.parametrize("reference", ["nothing.py:build", "no.such.module:build"])
def test_absent_modules(reference):
    with pytest.raises(ModelError):
        registry.find(reference)


def test_a_file_that_does_not_compile(tmp_path):
    (tmp_path / "bad.py").write_text("def build(:\n")
    with pytest.raises(ModelError, match="SyntaxError"):
        registry.find(f"{tmp_path / 'bad.py'}:build")
