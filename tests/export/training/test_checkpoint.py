"""A checkpoint holds all that a trainer needs, runs nothing, and is refused when it is something else."""

import os
import pickle

import pytest
import torch
from torch import nn

from edgeproof.export.models.recipe import Recipe
from edgeproof.export.pretrained.state_dict import read_weights
from edgeproof.export.training import checkpoint as checkpoint_module
from edgeproof.export.training.checkpoint import Record, load_checkpoint, save_checkpoint
from edgeproof.export.training.history import Epoch
from edgeproof.export.training.samples import prepare
from edgeproof.export.training.trainer import Trainer
from edgeproof.runtime.errors import WeightsError

RECORD = Record({"model": {"name": "net"}}, (Epoch(1, 2.0, 2.1, 30.0, 360, 1e-3, 0.5),))


def network(width=16):
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.Dropout(0.3), nn.Flatten(), nn.LazyLinear(10)
    )


@pytest.fixture(scope="module")
def samples(digits, progress):
    return prepare(digits.train.take(range(100)), digits.preprocess((3, 8, 8)), progress)


def begin(samples, recipe, width=16):
    made = network(width)
    made(torch.zeros(1, 3, 8, 8))
    return Trainer(made, samples, recipe)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_a_course_goes_on_as_if_nothing_had_happened(samples, progress, tmp_path, optimizer, schedule):
    """Dropout, order and shifts are drawn on; the optimizer and its rate are where they were."""
    recipe = Recipe(epochs=4, batch=33, optimizer=optimizer, schedule=schedule, rate=1e-2)
    straight = begin(samples, recipe)
    for _ in range(4):
        straight.train_epoch(progress)
    first = begin(samples, recipe)
    for _ in range(2):
        first.train_epoch(progress)
    save_checkpoint(tmp_path / "checkpoint.pt", RECORD, first)
    torch.rand(5)
    second = begin(samples, recipe)
    load_checkpoint(tmp_path / "checkpoint.pt").resume(second)
    assert second.epoch == 2
    for _ in range(2):
        second.train_epoch(progress)
    whole, resumed = straight.network.state_dict(), second.network.state_dict()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.fixture
def saved(samples, tmp_path):
    trainer = begin(samples, Recipe())
    save_checkpoint(tmp_path / "checkpoint.pt", RECORD, trainer)
    return tmp_path / "checkpoint.pt"


def test_the_record_comes_back(saved):
    assert load_checkpoint(saved).record == RECORD


def test_a_checkpoint_is_a_weights_file_too(saved):
    found = read_weights(saved)
    assert found.wrapping == "model"
    assert found.state["0.weight"].shape == (16, 3, 3, 3)


def test_a_failing_write_keeps_the_previous_checkpoint(saved, samples, monkeypatch, draftless):
    before = saved.read_bytes()
    monkeypatch.setattr(checkpoint_module.torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, RECORD, begin(samples, Recipe()))
    assert saved.read_bytes() == before
    draftless(saved.parent, "checkpoint.pt")


class Hostile:
    def __reduce__(self):
        return os.mkdir, ("hacked",)


@pytest.mark.parametrize("content", ["cut off", "nonsense", "hostile", "weights", "record"])
def test_what_is_no_checkpoint_is_refused(saved, tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    if content == "cut off":
        saved.write_bytes(saved.read_bytes()[:-2000])
    elif content == "nonsense":
        saved.write_bytes(b"nonsense")
    elif content == "hostile":
        saved.write_bytes(pickle.dumps({"record": Hostile()}, protocol=2))
    elif content == "weights":
        torch.save({"weight": torch.ones(2)}, saved)
    else:
        torch.save({"record": '{"settings": {}, "epochs": [{"epoch": "one"}]}'}, saved)
    with pytest.raises(WeightsError) as caught:
        load_checkpoint(saved)
    assert "--fresh" in caught.value.details["to do"]
    assert not (tmp_path / "hacked").exists()


def test_the_state_of_another_network_is_refused(saved, samples):
    with pytest.raises(WeightsError, match="not a checkpoint that a training can go on from"):
        load_checkpoint(saved).resume(begin(samples, Recipe(), width=8))
