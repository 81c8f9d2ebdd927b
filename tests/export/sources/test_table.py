"""The listing of `edgeproof models`."""

import json
import re

import pytest

from edgeproof.export.sources import registry, table

ZOO = {
    *("mobilenet_v1", "mobilenet_v1_cifar", "mobilenet_v2", "mobilenet_v2_cifar"),
    *("mobilenet_v3_small", "mobilenet_v3_large", "senet18", "hybridsn", "hybridsn_plain"),
    *("inception_mnist", "resnet_mnist", "lenet", "alexnet_half", "vgg11", "vgg13", "vgg16", "vgg19"),
    *("googlenet", "googlenet_5x5", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    "resnext50_32x4d",
}


@pytest.fixture(scope="module")
def described():
    return json.loads(json.dumps(table.as_data()))


@pytest.fixture(scope="module")
def text():
    return table.as_text()


def test_every_network_of_the_zoo_is_there(described):
    assert set(described["registry"]) == ZOO


def test_an_entry_for_machines(described):
    entry = described["registry"]["mobilenet_v1"]
    assert entry["source"] == "arXiv 1704.04861"
    assert entry["input"] == [3, 224, 224]
    assert entry["small_input"] == [3, 32, 32]
    assert (entry["parameters"], entry["classes"]) == (4_231_976, 1000)
    assert entry["multiply_adds"] == pytest.approx(569e6, rel=0.01)
    assert entry["data"][0] == "digits"
    assert entry["options"]["width"]["allowed"] == [0.25, 0.5, 0.75, 1.0]
    assert entry["options"]["shallow"]["default"] is False


def test_entries_have_the_same_keys(described):
    keys = {frozenset(entry) for entry in described["registry"].values()}
    named = {"source", "input", "small_input", "aliases", "parameters", "multiply_adds", "data", "options"}
    assert len(keys) == 1
    assert named < next(iter(keys))


def test_aliases_and_torchvisions_names(described):
    assert described["registry"]["mobilenet_v3_large"]["aliases"] == ["mobilenet_v3"]
    assert {"resnet18", "swin_t"} <= set(described["torchvision"])


def test_a_line_a_model_in_columns(text):
    header, rule, *rows = text.splitlines()[: 2 + len(registry.SPECS)]
    assert re.split(r"  +", header) == ["name", "parameters", "multiply-adds", "input", "data", "paper"]
    assert [row.split()[0] for row in rows] == list(registry.SPECS)
    starts = [match.start() for match in re.finditer(r"(?<![^ ])-", rule)]
    assert all(row[start - 1] == " " for row in rows for start in starts[1:])


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("resnet_mnist", ("42 k", "2.01 M", "1x28x28")),
        ("mobilenet_v2", ("3.50 M", "301 M", "3x224x224 or 3x32x32")),
        ("vgg19", ("144 M", "19,632 M", "3x224x224 or 3x64x64")),
        ("hybridsn", ("5.12 M", "248 M", "1x30x25x25")),
    ],
)
def test_sizes_for_people(text, name, sizes):
    row = next(line for line in text.splitlines() if line.startswith(f"{name} "))
    assert re.split(r"  +", row)[1:4] == list(sizes)


def test_what_else_it_says(text):
    assert "mobilenet_v1: width=0.25|0.5|0.75|1.0; shallow=false|true" in text
    assert "mobilenet_v3 is mobilenet_v3_large" in text
    assert "file.py:factory" in text
    others = text.split("torchvision's: ")[1].splitlines()[0].split(", ")
    assert "swin_t" in others
    assert "resnet18" not in others
