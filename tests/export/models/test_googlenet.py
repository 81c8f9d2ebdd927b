"""GoogLeNet as torchvision defines it (arXiv 1409.4842)."""

import pytest
import torch

from edgeproof.export.models import flops as cost
from edgeproof.export.sources import registry


def test_parameters(parameters):
    assert cost.of_variant(registry.find("googlenet").standard, 1000).parameters == 6_624_904
    assert parameters("googlenet", 1000) > 13_000_000  # with its auxiliary classifiers


def test_batch_norm_and_3x3(sized):
    network = sized("googlenet", 10)
    assert network.inception3a.branch3[1].conv.kernel_size == (3, 3)
    assert type(network.inception3a.branch3[1].bn).__name__ == "BatchNorm2d"


def test_training_gives_the_auxiliary_classifiers_too(sized):
    outputs = sized("googlenet", 10, "small").train()(torch.zeros(2, 3, 64, 64, device="meta"))
    assert outputs._fields == ("logits", "aux_logits2", "aux_logits1")


@pytest.mark.slow
def test_the_export_has_no_auxiliary_classifier(proven):
    model = proven("googlenet", "small")
    assert [value.name for value in model.graph.output] == ["output"]
    assert not [tensor.name for tensor in model.graph.initializer if "aux" in tensor.name]
