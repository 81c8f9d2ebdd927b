"""Samples are prepared once or each time, to the same effect."""

import numpy as np
import pytest

from edgeproof.export.training.samples import batches, cut, prepare


def test_kept_and_streamed_samples_are_the_same(digits, progress):
    part = digits.train.take(range(40))
    preprocess = digits.preprocess((3, 32, 32))
    kept, streamed = (prepare(part, preprocess, progress, max_bytes) for max_bytes in (1 << 30, 0))
    chosen = np.array([7, 3, 39])
    assert np.array_equal(kept.read(chosen), streamed.read(chosen))
    assert np.array_equal(kept.read(chosen), part.take(chosen).tensor(preprocess))
    assert np.array_equal(kept.truths, part.labels)


def test_kept_samples_are_read_once(digits, progress):
    reads = []
    part = digits.train.take(range(8))
    load = part.load
    counted = type(part)(lambda i: reads.append(i) or load(i), part.labels)
    samples = prepare(counted, digits.preprocess((3, 8, 8)), progress)
    already = len(reads)
    samples.read(np.arange(8))
    assert len(reads) == already


@pytest.mark.parametrize(
    ("count", "sizes"), [(8, [4, 4]), (9, [4, 5]), (10, [4, 4, 2]), (3, [3]), (1, [1]), (5, [5])]
)
def test_no_batch_holds_a_single_sample_unless_there_is_but_one(count, sizes):
    pieces = cut(np.arange(count), 4)
    assert [len(piece) for piece in pieces] == sizes
    assert np.array_equal(np.concatenate(pieces), np.arange(count))


def test_batches_keep_the_order(digits, progress):
    samples = prepare(digits.train.take(range(10)), digits.preprocess((1, 8, 8)), progress)
    chosen = np.array([9, 0, 5])
    assert np.array_equal(np.concatenate(list(batches(samples, chosen, 2))), samples.read(chosen))
