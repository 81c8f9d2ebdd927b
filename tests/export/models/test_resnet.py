"""ResNet (arXiv 1512.03385): torchvision's, counted."""

import pytest

# As torchvision's documentation gives them.
PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("variant", ["standard", "small"])
def test_parameters(parameters, name, variant):
    assert parameters(name, 1000, variant) == PARAMETERS[name]


@pytest.mark.slow
def test_the_export_gives_pytorchs_answers(proven):
    proven("resnet18", "small")
