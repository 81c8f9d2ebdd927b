"""VGG (arXiv 1409.1556): counts, and the small variant."""

import pytest

# As torchvision's documentation gives them; the paper's Table 2 says 133, 133, 138 and 144 millions.
PARAMETERS = {"vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544, "vgg19": 143_667_240}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(parameters, name):
    assert parameters(name, 1000) == PARAMETERS[name]
    assert parameters(name, 1000, "small") == PARAMETERS[name] - (512 * 7 * 7 - 512 * 2 * 2) * 4096


def test_no_batch_norm(sized):
    assert not [m for m in sized("vgg16", 10).modules() if type(m).__name__ == "BatchNorm2d"]


def test_shapes(sized, shapes):
    assert shapes(sized("vgg16", 10), (3, 224, 224), "features", "avgpool") == [(512, 7, 7)] * 2
    assert shapes(sized("vgg16", 10, "small"), (3, 64, 64), "features", "avgpool") == [(512, 2, 2)] * 2


@pytest.mark.slow
def test_the_export_of_the_small_form_gathers_nothing(proven):
    """Pooling 2x2 to 7x7, as the standard variant would at 64x64, becomes a forest of Gather and Where."""
    model = proven("vgg11", "small")
    assert {node.op_type for node in model.graph.node} <= {
        "AveragePool",
        "Conv",
        "Gemm",
        "MaxPool",
        "Relu",
        "Reshape",
    }
