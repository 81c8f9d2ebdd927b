"""Boxes: their overlaps, and the suppression of those that better ones cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.runtime.tasks.boxes import Boxes, areas, iou, nms

seeds = st.integers(0, 2**32 - 1)


def draw(seed, count):
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 80, (count, 2))
    return np.concatenate([corner, corner + random.uniform(1, 40, (count, 2))], axis=1).astype(np.float32)


def test_iou_by_hand():
    first = np.array([[0, 0, 10, 10], [0, 0, 0, 5]], np.float32)
    second = np.array([[5, 0, 15, 10], [20, 20, 30, 30]], np.float32)
    assert iou(first, second) == pytest.approx(np.array([[50 / 150, 0], [0, 0]]))


@settings(max_examples=50)
@given(seeds)
def test_iou_is_symmetric_and_a_box_is_its_own_match(seed):
    first, second = draw(seed, 5), draw(seed + 1, 7)
    assert np.allclose(iou(first, second), iou(second, first).T)
    assert np.allclose(np.diag(iou(first, first)), 1)
    assert (iou(first, second) <= 1).all()


@settings(max_examples=50)
@given(seeds, st.floats(0.1, 0.9))
def test_no_two_kept_boxes_overlap_by_more_and_each_other_one_is_covered(seed, limit):
    boxes, scores = draw(seed, 30), np.random.default_rng(seed).permutation(30).astype(np.float32)
    kept = nms(boxes, scores, limit, 100)
    overlaps = iou(boxes[kept], boxes[kept]) - np.eye(len(kept))
    assert (overlaps <= limit + 1e-6).all()
    assert list(scores[kept]) == sorted(scores[kept], reverse=True)
    for lost in set(range(30)) - set(kept):
        better = kept[scores[kept] > scores[lost]]
        assert (iou(boxes[lost][None], boxes[better]) > limit - 1e-6).any()


@settings(max_examples=30)
@given(seeds)
def test_the_order_in_which_boxes_come_does_not_matter(seed):
    boxes, scores = draw(seed, 20), np.random.default_rng(seed).permutation(20).astype(np.float32)
    order = np.random.default_rng(seed + 1).permutation(20)
    kept, shuffled = nms(boxes, scores, 0.5, 100), nms(boxes[order], scores[order], 0.5, 100)
    assert np.array_equal(boxes[kept], boxes[order][shuffled])


def test_torchvision_suppresses_the_same():
    torch = pytest.importorskip("torch")
    ops = pytest.importorskip("torchvision.ops")
    boxes, scores = draw(3, 200), np.random.default_rng(3).permutation(200).astype(np.float32)
    wanted = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.45).numpy()
    assert np.array_equal(nms(boxes, scores, 0.45, 1000), wanted)


def test_at_most_so_many_are_kept():
    assert len(nms(draw(0, 50), np.arange(50, dtype=np.float32), 0.99, 3)) == 3


def test_a_box_whose_right_lies_left_of_its_left_has_no_area():
    assert areas(np.array([[5, 5, 1, 9]], np.float32)) == 0


def test_no_boxes_are_boxes():
    nothing = Boxes.of([], [])
    assert (len(nothing), nothing.boxes.shape, nothing.ignore.dtype) == (0, (0, 4), bool)
    assert len(nms(nothing.boxes, nothing.scores, 0.5, 10)) == 0
