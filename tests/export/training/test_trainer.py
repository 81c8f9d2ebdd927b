"""Training: seeded, and its batch norms are settled."""

import numpy as np
import pytest
import torch
from torch import nn

from edgeproof.export.data.dataset import Split
from edgeproof.export.models.recipe import Recipe
from edgeproof.export.training.samples import prepare
from edgeproof.export.training.trainer import _shifted, evaluate_network, predict, settle_batch_norm, train


class Auxiliary(nn.Module):
    """Gives a second output while it trains, as GoogLeNet does."""

    def __init__(self):
        super().__init__()
        self.main, self.second = nn.Linear(3072, 10), nn.Linear(3072, 10)

    def forward(self, x):
        x = x.flatten(1)
        return (self.main(x), self.second(x)) if self.training else self.main(x)


def trained(network, digits, progress, **recipe):
    torch.manual_seed(0)
    network.apply(lambda m: m.reset_parameters() if hasattr(m, "reset_parameters") else None)
    part = digits.train.take(range(256))
    train(network, part, digits.preprocess((3, 32, 32)), Recipe(epochs=2, **recipe), progress)
    return network


def test_the_same_seed_gives_the_same_weights(digits, progress):
    first, second = (
        trained(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), digits, progress) for _ in range(2)
    )
    assert torch.equal(first[1].weight, second[1].weight)


def test_another_seed_gives_other_weights(digits, progress):
    first, second = (
        trained(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), digits, progress, seed=seed)
        for seed in (0, 1)
    )
    assert not torch.equal(first[1].weight, second[1].weight)


def test_it_learns(digits, progress):
    network = trained(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), digits, progress)
    scores = predict(network, digits.evaluation.tensor(digits.preprocess((3, 32, 32))))
    assert (scores.argmax(1) == digits.evaluation.labels).mean() > 0.5


def test_auxiliary_outputs_are_trained_too(digits, progress):
    network = Auxiliary()
    before = network.second.weight.detach().clone()
    trained(network, digits, progress)
    assert not torch.equal(network.second.weight, before)
    assert not network.training


def test_batch_norm_statistics_are_those_of_the_data():
    network = nn.Sequential(nn.BatchNorm2d(3, momentum=0.01))
    data = np.random.default_rng(0).normal([[[1.0]], [[2.0]], [[3.0]]], 0.5, (64, 3, 4, 4)).astype(np.float32)
    settle_batch_norm(network, [data[:32], data[32:]])
    norm = network[0]
    assert norm.running_mean.numpy() == pytest.approx(data.mean((0, 2, 3)), rel=1e-4)
    assert norm.running_var.numpy() == pytest.approx(data.var((0, 2, 3)), rel=2e-2)
    assert norm.momentum == 0.01
    assert not network.training


def test_a_network_without_batch_norm_is_left_alone():
    network = nn.Sequential(nn.Linear(4, 4))
    settle_batch_norm(network, iter(()))
    assert not network.training


def test_each_picture_is_rolled_by_its_own_shift():
    inputs = np.random.default_rng(0).normal(size=(5, 2, 8, 16)).astype(np.float32)
    moved = _shifted(torch.from_numpy(inputs), 1 / 8, np.random.default_rng(1)).numpy()
    moves = np.random.default_rng(1).integers(-2, 3, size=(5, 2))
    rolled = [np.roll(one, tuple(move), (-2, -1)) for one, move in zip(inputs, moves, strict=True)]
    assert np.array_equal(moved, np.stack(rolled))
    assert not np.array_equal(moved, inputs)


@pytest.mark.parametrize("shape", [(6,), (3, 40), (2, 3, 4, 5)])
def test_tensors_of_any_rank_are_trained_on_as_they_are(progress, shape):
    labels = np.arange(20) % 2
    samples = np.random.default_rng(0).normal(size=(20, *shape)).astype(np.float32)
    samples[labels == 1] += 2
    seen = []

    class Watching(nn.Flatten):
        def forward(self, x):
            seen.append(x.detach().clone())
            return super().forward(x)

    network = nn.Sequential(Watching(), nn.Linear(int(np.prod(shape)), 2))
    data = Split(lambda i: samples[i], labels.astype(np.int64))
    train(network, data, None, Recipe(epochs=1, batch=20), progress)
    assert sorted(x.sum().item() for x in seen[0]) == pytest.approx(sorted(samples.reshape(20, -1).sum(1)))


def test_a_judgement_is_the_mean_over_all_samples(digits, progress):
    part = digits.evaluation.take(range(100))
    preprocess = digits.preprocess((1, 8, 8))
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).eval()
    held_out = evaluate_network(network, prepare(part, preprocess, progress))
    scores = torch.from_numpy(predict(network, part.tensor(preprocess)))
    assert held_out.score == (scores.argmax(1).numpy() == part.labels).mean() * 100
    wanted = nn.functional.cross_entropy(scores, torch.from_numpy(part.labels)).item()
    assert held_out.loss == pytest.approx(wanted, rel=1e-5)
