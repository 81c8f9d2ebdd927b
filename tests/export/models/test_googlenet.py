"""GoogLeNet as torchvision defines it (arXiv 1409.4842)."""

import pytest

from edgeproof.export.models import cost, registry


def test_parameters(parameters):
    assert cost.of_form(registry.find("googlenet").standard, 1000).parameters == 6_624_904
    assert parameters("googlenet", 1000) > 13_000_000  # with its auxiliary classifiers


def test_batch_norm_and_3x3(sized):
    network = sized("googlenet", 10)
    assert network.inception3a.branch3[1].conv.kernel_size == (3, 3)
    assert type(network.inception3a.branch3[1].bn).__name__ == "BatchNorm2d"


@pytest.mark.slow
def test_training_gives_the_auxiliary_classifiers_too(trains):
    main, aux2, aux1 = trains("googlenet", "small")
    assert main.shape == aux2.shape == aux1.shape == (4, 10)


@pytest.mark.slow
def test_the_export_has_no_auxiliary_classifier(proven):
    model = proven("googlenet", "small")
    assert [value.name for value in model.graph.output] == ["output"]
    assert not [tensor.name for tensor in model.graph.initializer if "aux" in tensor.name]
