"""ResNeXt-50 (arXiv 1611.05431): torchvision's, with its groups and their width."""

import pytest
from torchvision.models import resnext50_32x4d


def test_it_is_torchvisions(build, parameters):
    assert parameters("resnext50_32x4d", 1000) == 25_028_904
    ours = build("resnext50_32x4d", 10).state_dict()
    theirs = resnext50_32x4d(weights=None, num_classes=10).state_dict()
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}


@pytest.mark.parametrize(
    ("groups", "width", "millions"),
    [(1, 64, 25.6), (2, 40, 25.4), (4, 24, 25.3), (8, 14, 25.3), (32, 4, 25.0)],
)
def test_the_papers_trade_of_groups_for_width(parameters, groups, width, millions):
    """Table 2 of the paper holds the size at about 25 millions."""
    found = parameters("resnext50_32x4d", 1000, groups=str(groups), width_per_group=str(width))
    assert found / 1e6 == pytest.approx(millions, abs=0.35)


def test_the_options_reach_the_convolutions(sized):
    network = sized("resnext50_32x4d", 10, groups="8", width_per_group="14")
    convolution = network.layer1[0].conv2
    assert (convolution.groups, convolution.out_channels) == (8, 8 * 14)
