"""`edgeproof train`: resumes to the same weights, leaves what it says, and refuses what cannot be."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from edgeproof.calibration.progress import Progress
from edgeproof.export.data.dataset import Split
from edgeproof.export.models.recipe import Recipe
from edgeproof.export.pretrained.state_dict import load_state, read_weights
from edgeproof.export.sources import registry
from edgeproof.export.sources import resolve as module
from edgeproof.export.training import run as training
from edgeproof.export.training.checkpoint import load_checkpoint
from edgeproof.export.training.history import read_history
from edgeproof.export.training.run import TrainRequest, train_model
from edgeproof.export.training.trainer import predict
from edgeproof.runtime.errors import DataError, InputError, ModelError, OutputError, WeightsError
from edgeproof.runtime.records import encode

FILES = ("curves.png", "history.json", "weights.safetensors")

AUXILIARY = '''
from torch import nn


class Auxiliary(nn.Module):
    """Gives two more outputs while it trains, as GoogLeNet does."""

    def __init__(self, num_classes=10):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(3072, num_classes) for _ in range(3))

    def forward(self, x):
        outputs = tuple(head(x.flatten(1)) for head in self.heads)
        return outputs if self.training else outputs[0]


def auxiliary(num_classes=10):
    return Auxiliary(num_classes)


def headless():
    return nn.Flatten()
'''


class Interrupted(Progress):
    """The user presses Ctrl-C in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__(quiet=True)
        self.title = f"epoch {epoch} of"

    def track(self, items, total, title):
        for step, item in enumerate(items):
            if title.startswith(self.title) and step == 1:
                raise KeyboardInterrupt
            yield item


def weights(folder):
    return read_weights(folder / "weights.safetensors").state


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture(scope="module")
def request_for(tiny_network):
    def build(out, **changes):
        recipe = {"epochs": 4, **changes.pop("recipe", {})}
        return TrainRequest(model=tiny_network, samples=150, recipe=recipe, out=out, **changes)

    return build


@pytest.fixture(scope="module")
def straight(request_for, tmp_path_factory, progress):
    return train_model(request_for(tmp_path_factory.mktemp("straight") / "tiny"), progress)


def test_an_interrupted_training_reaches_the_same_weights(
    straight, request_for, tmp_path, progress, draftless
):
    """Interrupted before the first checkpoint, then after two epochs, in the middle of the third."""
    out = tmp_path / "tiny"
    for epoch, left in ((1, ()), (3, ("checkpoint.pt",))):
        with pytest.raises(KeyboardInterrupt):
            train_model(request_for(out), Interrupted(epoch))
        draftless(out, *left)
    assert [epoch.epoch for epoch in load_checkpoint(out / "checkpoint.pt").record.epochs] == [1, 2]
    resumed = train_model(request_for(out), progress)
    draftless(out, *FILES)
    assert same(weights(out), weights(straight.folder))
    assert resumed.history.result.sha256 == straight.history.result.sha256
    for ours, theirs in zip(resumed.history.epochs, straight.history.epochs, strict=True):
        assert replace(ours, seconds=0) == replace(theirs, seconds=0)


def test_an_interrupt_while_the_result_is_written_costs_no_epoch(
    straight, request_for, tmp_path, progress, monkeypatch
):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "close_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train_model(request_for(tmp_path), progress)
    monkeypatch.setattr(training, "_epoch", interrupt)
    train_model(request_for(tmp_path), progress)
    assert same(weights(tmp_path), weights(straight.folder))


def test_a_finished_training_is_not_repeated(straight, request_for, progress, monkeypatch):
    monkeypatch.setattr(training, "Trainer", None)
    again = train_model(request_for(straight.folder), progress)
    assert again.history == straight.history


def test_fresh_repeats_it(request_for, tmp_path, progress, draftless):
    request = request_for(tmp_path, recipe={"epochs": 1})
    first = train_model(request, progress)
    other = request_for(tmp_path, recipe={"epochs": 1, "seed": 1}, fresh=True)
    second = train_model(other, progress)
    assert first.history.result.sha256 != second.history.result.sha256
    draftless(tmp_path, *FILES)


def test_it_learns_and_its_files_can_be_used(straight, tiny_network, digits):
    history = read_history(straight.folder / "history.json")
    assert history == straight.history
    assert [epoch.epoch for epoch in history.epochs] == [1, 2, 3, 4]
    assert history.epochs[-1].loss < history.epochs[0].loss
    assert history.result.score == history.epochs[-1].score > 50
    assert history.epochs[-1].held_out == 360
    assert history.result.held_out == len(digits.evaluation)
    assert history.settings["data"]["samples"] == 150
    with Image.open(straight.folder / "curves.png") as picture:
        picture.load()
    network = registry.find(tiny_network).standard.build(10)
    load_state(network, weights(straight.folder), straight.folder)
    scores = predict(network.eval(), digits.evaluation.tensor(digits.preprocess((3, 32, 32))))
    assert 100 * (scores.argmax(1) == digits.evaluation.labels).mean() == history.result.score


def test_the_weights_do_not_depend_on_the_judges(
    straight, request_for, tmp_path, progress, digits, monkeypatch
):
    fewer = replace(digits, evaluation=digits.evaluation.take(range(10)))
    monkeypatch.setattr(module.catalog, "find", lambda name, task: fewer)
    train_model(request_for(tmp_path), progress)
    assert same(weights(tmp_path), weights(straight.folder))


def test_the_recipe_is_the_rows_own(tiny_network, tmp_path, progress, monkeypatch):
    row = Recipe(epochs=1, batch=50, optimizer="sgd", rate=0.01, schedule="constant")
    spec = replace(registry.find(tiny_network), recipe=row)
    monkeypatch.setattr(module.registry, "find", lambda _: spec)
    request = TrainRequest(model=tiny_network, samples=100, recipe={"rate": 0.02}, out=tmp_path)
    history = train_model(request, progress).history
    assert history.settings["recipe"] == encode(replace(row, rate=0.02))
    assert [epoch.rate for epoch in history.epochs] == [0.02]


@pytest.fixture(scope="module")
def auxiliary(tmp_path_factory):
    file = tmp_path_factory.mktemp("auxiliary") / "auxiliary_network.py"
    file.write_text(AUXILIARY)
    return file


def test_auxiliary_outputs_are_trained_too_and_do_not_judge(auxiliary, tmp_path, progress):
    recipe = {"epochs": 3}
    request = TrainRequest(model=f"{auxiliary}:auxiliary", samples=300, recipe=recipe, out=tmp_path)
    history = train_model(request, progress).history
    assert history.result.score > 50
    assert 0 < history.epochs[-1].loss < 2
    start = training._resolve_job(request).network.state_dict()
    assert not torch.equal(weights(tmp_path)["heads.2.weight"], start["heads.2.weight"])


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"recipe": {"epochs": 5}}, "recipe.epochs = 5"),
        ({"recipe": {"seed": 7}}, "recipe.seed = 7"),
        ({"input_shape": (3, 28, 28)}, "model.input = [3, 28, 28]"),
    ],
)
@pytest.mark.parametrize("standing", ["finished", "under way"])
def test_a_training_of_other_settings_is_refused(
    straight, request_for, tmp_path, progress, changes, difference, standing
):
    out = straight.folder
    if standing == "under way":
        out = tmp_path
        with pytest.raises(KeyboardInterrupt):
            train_model(request_for(out), Interrupted(2))
    with pytest.raises(WeightsError) as caught:
        train_model(request_for(out, **changes), progress)
    assert difference in caught.value.details["wanted"]
    assert "--fresh" in caught.value.details["to do"]
    assert caught.value.exit_status == 2


def test_a_checkpoint_of_another_architecture_is_refused(request_for, auxiliary, tmp_path, progress):
    with pytest.raises(KeyboardInterrupt):
        train_model(request_for(tmp_path), Interrupted(2))
    other = replace(request_for(tmp_path), model=f"{auxiliary}:auxiliary")
    with pytest.raises(WeightsError) as caught:
        train_model(other, progress)
    assert "model.name = auxiliary" in caught.value.details["wanted"]
    assert "model.name = tiny" in caught.value.details["got"]
    train_model(replace(other, fresh=True, recipe={"epochs": 1}), progress)


def test_weights_that_were_changed_are_not_taken_for_the_trained_ones(request_for, tmp_path, progress):
    request = request_for(tmp_path, recipe={"epochs": 1})
    train_model(request, progress)
    (tmp_path / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(WeightsError, match="was changed since"):
        train_model(request, progress)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("fresh", [False, True])
def test_what_no_training_wrote_is_left_alone(request_for, tmp_path, progress, draftless, name, fresh):
    (tmp_path / name).write_text("{}")
    with pytest.raises(OutputError, match="left as it is"):
        train_model(request_for(tmp_path, fresh=fresh), progress)
    assert (tmp_path / name).read_text() == "{}"
    draftless(tmp_path, name)


def test_an_output_that_is_a_file_is_refused(request_for, tmp_path, progress):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError):
            train_model(request_for(out), progress)


def test_data_that_the_model_cannot_take_is_refused(request_for, tmp_path, progress, digits, monkeypatch):
    sounds = Split(lambda _: np.zeros((1, 40), np.float32), digits.train.labels)
    found = replace(digits, name="sounds", train=sounds, evaluation=sounds, tensor_shape=(1, 40))
    monkeypatch.setattr(module.catalog, "find", lambda name, task: found)
    with pytest.raises(DataError, match="tiny cannot take the data set sounds"):
        train_model(request_for(tmp_path / "out"), progress)
    assert not (tmp_path / "out").exists()


def test_data_without_a_part_to_train_on_is_refused(request_for, tmp_path, progress, digits, monkeypatch):
    monkeypatch.setattr(module.catalog, "find", lambda name, task: replace(digits, train=None))
    with pytest.raises(DataError, match="no part to train on"):
        train_model(request_for(tmp_path / "out"), progress)


@pytest.mark.parametrize(
    ("factory", "shape", "message"),
    [
        ("auxiliary", (3, 16, 16), "cannot take the samples of digits"),
        ("headless", (3, 32, 32), "does not fit the data set digits"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_before_it_trains(
    auxiliary, tmp_path, progress, factory, shape, message
):
    request = TrainRequest(model=f"{auxiliary}:{factory}", input_shape=shape, out=tmp_path / "out")
    with pytest.raises(ModelError, match=message):
        train_model(request, progress)
    assert not (tmp_path / "out").exists()


def test_a_training_that_diverges_says_so_and_leaves_no_weights(request_for, tmp_path, progress):
    with pytest.raises(InputError, match="diverged") as caught:
        train_model(request_for(tmp_path, recipe={"rate": 1e30}), progress)
    assert "--rate" in caught.value.details["to do"]
    assert not (tmp_path / "weights.safetensors").exists()


def test_the_folder_is_named_after_model_and_data(tiny_network):
    assert training._folder_name(tiny_network, "digits") == "tiny-digits"
    assert training._folder_name("mobilenet_v3", "imagefolder:/a/my photos") == (
        "mobilenet_v3-imagefolder-my_photos"
    )


def test_the_command_trains_and_says_how_to_export(edgeproof, tiny_network, tmp_path, draftless):
    arguments = ("train", tiny_network, "--data", "digits", "--epochs", "2", "--samples", "100")
    done = edgeproof(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path("artifacts/training/tiny-digits")
    draftless(tmp_path / folder, *FILES)
    assert re.match(r"tiny on digits: [\d.]+ % top-1 on 360 held-out samples\n2 epochs of 100", done.stdout)
    assert f"--weights {folder}/weights.safetensors --data digits" in done.stdout
    assert "epoch 2 of 2" in done.stderr
    again = edgeproof(*arguments, "--json", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["result"]["held_out"] == 360
    assert len(json.loads(again.stdout)["epochs"]) == 2
    assert "holds this training already" in " ".join(again.stderr.split())
    exported = edgeproof(
        *("export", tiny_network, "--precision", "fp32"),
        *("--weights", folder / "weights.safetensors", "--out", "bundle"),
        cwd=tmp_path,
    )
    assert exported.returncode == 0, exported.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint(tiny_network, tmp_path, draftless, number):
    command = [
        sys.executable,
        "-m",
        "edgeproof.export",
        "train",
        tiny_network,
        "--out",
        str(tmp_path / "tiny"),
    ]
    options = ["--samples", "100", "--epochs", "5000"]
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "epoch 2 of" in line:
            break
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert output == ""
    assert "interrupted" in errors
    assert "goes on from there" in " ".join(errors.split())
    assert "Traceback" not in errors
    draftless(tmp_path / "tiny", "checkpoint.pt")
    assert len(load_checkpoint(tmp_path / "tiny" / "checkpoint.pt").record.epochs) >= 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "mobilnet_v3"}, "no model named"),
        ({"data": "digit"}, "no data set named"),
        ({"variant": "tall"}, "no variant named"),
        ({"options": {"breadth": "2"}}, "no option 'breadth'"),
    ],
)
def test_what_is_unknown_is_refused_before_anything_is_written(tmp_path, progress, changes, message):
    request = replace(TrainRequest(model="mobilenet_v3", out=tmp_path / "out"), **changes)
    with pytest.raises(InputError, match=message):
        train_model(request, progress)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mobilenet_v3", "--set", "breadth=2"], "no option 'breadth'"),
        (["mobilenet_v3", "--epochs", "0"], "epochs"),
    ],
)
def test_bad_usage_ends_with_2_and_one_message(edgeproof, tmp_path, arguments, message):
    done = edgeproof("train", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "artifacts").exists()
