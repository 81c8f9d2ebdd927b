"""What a training minimises: cross entropy, of pixels too, and torchvision's multibox loss."""

import numpy as np
import pytest
import torch
from torchvision import models

from edgeproof.export.sources import registry
from edgeproof.export.training.objectives import objective_of
from edgeproof.runtime.tasks.boxes import Boxes

LITE = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module")
def segmenter():
    return registry.find("deeplabv3_mobilenet_v3_large").standard.build(3)


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return registry.find(LITE).standard.build(10)


def scores(labels, classes, height=10.0):
    """Scores that are sure of these labels, shape (N, classes, ...)."""
    return height * torch.nn.functional.one_hot(labels, classes).movedim(-1, 1).float()


def test_a_classifier_learns_classes_and_its_auxiliary_outputs_count_three_tenths():
    objective = objective_of(torch.nn.Linear(2, 3), (2,))
    right, wrong = scores(torch.tensor([0, 2]), 3), scores(torch.tensor([1, 1]), 3)
    reported, total = objective.loss((right, wrong), np.array([0, 2]))
    assert reported < 0.01
    assert float(total - reported) == pytest.approx(0.3 * 10, rel=0.01)


def test_a_segmenter_learns_each_pixel_and_its_auxiliary_map_counts_half(segmenter):
    objective = objective_of(segmenter, (3, 2, 2))
    truth = np.array([[[0, 1], [2, 1]]], np.uint8)
    right = scores(torch.from_numpy(truth.astype(np.int64)), 3)
    wrong = scores(torch.from_numpy((truth.astype(np.int64) + 1) % 3), 3)
    reported, total = objective.loss((right, wrong), list(truth))
    assert reported < 0.01
    assert float(total - reported) == pytest.approx(0.5 * 10, rel=0.01)


def test_pixels_without_a_label_are_not_learned(segmenter):
    objective = objective_of(segmenter, (3, 2, 2))
    wrong = scores(torch.tensor([[[1, 1], [0, 0]]]), 3).requires_grad_()
    truth = np.array([[[1, 1], [255, 255]]], np.uint8)
    reported, total = objective.loss(wrong, list(truth))
    total.backward()
    assert reported < 0.01
    assert not wrong.grad[:, :, 1].any()
    assert wrong.grad[:, :, 0].any()


def test_the_ssds_loss_is_torchvisions(detector):
    """Of the same weights, pictures and boxes, one of which has none."""
    ssd = models.get_model(LITE, weights=None, weights_backbone=None, num_classes=11)
    ssd.load_state_dict(detector.state_dict())
    pictures = torch.rand(3, 3, 320, 320)
    truths = [
        Boxes.of([[10, 20, 110, 140], [200, 180, 300, 310]], [3, 9]),
        Boxes.of([[50, 50, 150, 250]], [0]),
        Boxes.of([], []),
    ]
    targets = [
        {"boxes": torch.from_numpy(t.boxes), "labels": torch.from_numpy(t.classes) + 1} for t in truths
    ]
    wanted = sum(ssd.train()(list(pictures), targets).values())
    reported, total = objective_of(detector, (3, 320, 320)).loss(
        detector.train()((pictures - 0.5) / 0.5), truths
    )
    assert float(total.detach()) == pytest.approx(float(wanted.detach()), rel=1e-4)
    assert reported is total


def test_ignored_boxes_are_not_learned(detector):
    crowd = Boxes.of([[10, 20, 110, 140], [30, 30, 300, 300]], [3, 9], ignore=[False, True])
    alone = Boxes.of([[10, 20, 110, 140]], [3])
    with torch.no_grad():
        outputs = detector.eval()(torch.zeros(1, 3, 320, 320))
    losses = [
        float(objective_of(detector, (3, 320, 320)).loss(outputs, [truth])[1]) for truth in (crowd, alone)
    ]
    assert losses[0] == losses[1]
