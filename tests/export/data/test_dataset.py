"""Samples become a network's input in one way, whatever the batch."""

import numpy as np
import pytest
from PIL import Image

from edgeproof.export.data.dataset import (
    CIFAR10_MEAN,
    CIFAR10_STD,
    Split,
    Truths,
    in_memory,
    photograph_preprocess,
    seeded_subset,
    small_color_preprocess,
    small_gray_preprocess,
)
from edgeproof.runtime.errors import DataError


def test_batches_hold_the_same_tensors_whatever_their_size(digits):
    preprocess = digits.preprocess((3, 32, 32))
    part = digits.evaluation.take(range(10))
    whole = part.tensor(preprocess)
    for size in (1, 3, 10, 64):
        assert np.array_equal(np.concatenate(list(part.batches(preprocess, size))), whole)


def test_tensors_pass_as_they_are():
    samples = np.arange(12, dtype=np.float32).reshape(3, 1, 4)
    split = Split(lambda i: samples[i], np.zeros(3, np.int64))
    assert np.array_equal(split.take([2, 0]).tensor(None), samples[[2, 0]])


def test_pictures_need_preprocessing(digits):
    with pytest.raises(DataError, match="preprocessing"):
        digits.evaluation.take([0]).tensor(None)


def test_a_seeded_subset_is_the_same_each_time_and_repeats_nothing():
    chosen = seeded_subset(1000, 128)
    assert np.array_equal(chosen, seeded_subset(1000, 128))
    assert np.all(np.diff(chosen) > 0)
    assert len(seeded_subset(5, 128)) == 5


@pytest.mark.parametrize(("shape", "mode"), [((2, 4, 6), "L"), ((2, 4, 6, 3), "RGB")])
def test_pictures_in_memory_are_grey_or_colour(shape, mode):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    picture = in_memory(pixels, np.array([0, 1])).load(1)
    assert picture.mode == mode
    assert np.array_equal(np.asarray(picture), pixels[1])


def test_small_grey_pictures_are_stretched_and_repeated():
    preprocess = small_gray_preprocess((3, 32, 48))
    tensor = preprocess(Image.new("L", (8, 8), 255))
    assert tensor.shape == (3, 32, 48)
    assert np.all(tensor == 1)
    assert small_gray_preprocess((1, 28, 28), mean=0.25, std=0.75).mean == (0.25,)


def test_small_colour_pictures_are_stretched_and_normalized_as_cifar10():
    tensor = small_color_preprocess((3, 48, 40))(Image.new("RGB", (32, 32), (255, 0, 51)))
    expected = (np.array([1, 0, 0.2]) - CIFAR10_MEAN) / CIFAR10_STD
    assert tensor.shape == (3, 48, 40)
    assert np.allclose(tensor, expected[:, None, None], atol=1e-6)


def test_a_network_of_one_channel_sees_colour_as_grey():
    tensor = small_color_preprocess((1, 28, 28))(Image.new("RGB", (32, 32), "white"))
    assert tensor.shape == (1, 28, 28)
    assert np.all(tensor == 1)


def test_a_loop_over_truths_ends():
    truths = Truths(3, lambda position: 10 * position)
    assert list(truths) == [0, 10, 20]
    assert list(truths[np.array([2, 0])]) == [20, 0]


def test_photographs_are_prepared_as_for_imagenet():
    preprocess = photograph_preprocess((3, 224, 224))
    assert (preprocess.resize, preprocess.crop) == (256, (224, 224))
    assert preprocess.mean == (0.485, 0.456, 0.406)
