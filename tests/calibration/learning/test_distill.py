"""Learning brings the INT8 answers nearer to the float ones, the same way each time."""

import numpy as np
import pytest
import torch

from edgeproof.calibration.learning.bias import correct_biases
from edgeproof.calibration.learning.distill import Course, distill, vary
from edgeproof.calibration.learning.sensitivity import rank_layers
from edgeproof.runtime.errors import DataError


def answers(simulation, photos):
    with torch.no_grad():
        return simulation.run(torch.from_numpy(photos), ["logits"])["logits"].numpy()


def test_learning_lowers_the_error(network, student, samples, photos, run, relative_error):
    right = run(network, photos)["logits"]
    before = relative_error(right, answers(student, photos))

    losses = distill(network.model, student, samples, Course(steps=40))

    assert len(losses) == 40
    assert relative_error(right, answers(student, photos)) < 0.9 * before


def test_learning_is_the_same_each_time(network, simulate, samples):
    first, again = (distill(network.model, simulate(), samples, Course(steps=3)) for _ in range(2))

    assert first == again


def test_a_loss_without_end_is_an_error(network, student, samples):
    with pytest.raises(DataError, match="diverged"):
        distill(network.model, student, samples, Course(steps=30, step_rate=1e6))


def test_pictures_are_varied_within_their_own_range():
    batch = torch.rand(4, 3, 20, 30)
    varied = vary(batch, np.random.default_rng(0))

    assert varied.shape == batch.shape
    assert not torch.equal(varied, batch)
    assert batch.min() <= varied.min()
    assert varied.max() <= batch.max()


@pytest.mark.parametrize("shape", [(4, 7), (4, 1, 6, 5, 5)])
def test_what_is_no_picture_passes_as_it_is(shape):
    batch = torch.rand(shape)

    assert vary(batch, np.random.default_rng(0)) is batch


def test_bias_correction_gives_every_channel_its_mean_back(network, student, photos, run):
    right = run(network, photos)["logits"].mean(axis=0)
    before = np.abs(answers(student, photos).mean(axis=0) - right)

    added = correct_biases(network.model, student, photos)

    assert set(added) == {"conv_b", "depthwise_b", "excite_b", "head_b"}
    after = np.abs(answers(student, photos).mean(axis=0) - right)
    assert after.max() < 0.1 * before.max()


def test_layers_are_ranked_by_the_harm_that_they_do_alone(network, student, photos, run, relative_error):
    ranked = rank_layers(network.model, student, photos)

    assert {damage.node for damage in ranked} == {"conv", "depthwise", "excite", "logits"}
    errors = [damage.relative_l2 for damage in ranked]
    assert errors == sorted(errors, reverse=True)
    assert all(error > 0 for error in errors)
    assert any(damage.layer == "Conv 'node_depthwise'" for damage in ranked)
