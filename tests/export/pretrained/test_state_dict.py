"""Weights files as people save them, and as an attacker would."""

import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edgeproof.export.pretrained.state_dict import load_state, read_weights
from edgeproof.runtime.errors import WeightsError


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


STATE = network().state_dict()


def averaged():
    return torch.optim.swa_utils.AveragedModel(network()).state_dict()


@pytest.mark.parametrize(
    ("content", "wrapping"),
    [
        (STATE, ""),
        ({"state_dict": STATE, "epoch": 3}, "state_dict"),
        ({"model": STATE, "optimizer": {"lr": 0.1}}, "model"),
        ({"model": {"state_dict": STATE}}, "model.state_dict"),
        ({"ema": STATE, "model": {"0.weight": torch.zeros(1)}}, "ema"),
        ({"model_ema": averaged(), "model": STATE}, "model_ema"),
        ({f"module.{name}": value for name, value in STATE.items()}, ""),
        ({f"module._orig_mod.{name}": value for name, value in STATE.items()}, ""),
    ],
)
def test_the_usual_wrappings(tmp_path, content, wrapping):
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    found = read_weights(file)
    assert found.wrapping == wrapping
    target = network()
    load_state(target, found.state, file)
    if wrapping in ("", "state_dict", "model", "model.state_dict", "ema"):
        assert torch.equal(target.state_dict()["0.weight"], STATE["0.weight"])


@pytest.mark.parametrize("averages", ["state_dict_ema", "model_ema", "ema"])
@pytest.mark.parametrize("plain", ["state_dict", "model_state_dict", "model", "module"])
def test_averaged_weights_are_preferred_to_the_plain_ones(tmp_path, averages, plain):
    file = tmp_path / "weights.pth"
    torch.save({plain: {name: value + 1 for name, value in STATE.items()}, averages: STATE}, file)
    found = read_weights(file)
    assert found.wrapping == averages
    assert torch.equal(found.state["0.weight"], STATE["0.weight"])


def test_safetensors(tmp_path):
    file = tmp_path / "weights.safetensors"
    save_file(STATE, file)
    assert set(read_weights(file).state) == set(STATE)


def test_a_checkpoint_from_before_batch_counters_fits(tmp_path):
    file = tmp_path / "old.pth"
    torch.save({name: v for name, v in STATE.items() if "num_batches_tracked" not in name}, file)
    target = network()
    load_state(target, read_weights(file).state, file)
    assert torch.equal(target.state_dict()["3.bias"], STATE["3.bias"])


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    file, trace = tmp_path / "hostile.pth", tmp_path / "trace"
    torch.save({"state_dict": Payload(trace)}, file)
    with pytest.raises(WeightsError, match="refused"):
        read_weights(file)
    assert not trace.exists()


def test_a_bare_hostile_pickle_is_refused_and_not_run(tmp_path):
    file, trace = tmp_path / "hostile.pt", tmp_path / "trace"
    file.write_bytes(pickle.dumps(Payload(trace)))
    with pytest.raises(WeightsError):
        read_weights(file)
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused_with_what_to_do(tmp_path):
    file = tmp_path / "model.pth"
    torch.save(network(), file)
    with pytest.raises(WeightsError, match="state_dict"):
        read_weights(file)


def empty(file):
    file.write_bytes(b"")


def text(file):
    file.write_text("these are not weights")


def truncated(file):
    torch.save(STATE, file)
    file.write_bytes(file.read_bytes()[:-200])


def zip_of_something_else(file):
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")


@pytest.mark.parametrize("damage", [empty, text, truncated, zip_of_something_else])
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_damaged_files(tmp_path, damage, name):
    file = tmp_path / name
    damage(file)
    with pytest.raises(WeightsError, match=name):
        read_weights(file)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(3), {"model": {"a": 1}}])
def test_what_is_not_a_state_dict(tmp_path, content):
    file = tmp_path / "weights.pth"
    torch.save(content, file)
    with pytest.raises(WeightsError, match="holds no state dict"):
        read_weights(file)


def test_an_absent_file(tmp_path):
    with pytest.raises(WeightsError, match="no weights file"):
        read_weights(tmp_path / "nothing.pth")


def test_a_mismatch_lists_missing_unexpected_and_wrong_shapes(tmp_path):
    state = {name: value for name, value in STATE.items() if name != "1.weight"}
    state |= {"head.weight": torch.zeros(2), "3.weight": torch.zeros(5, 16)}
    with pytest.raises(WeightsError) as caught:
        load_state(network(), state, tmp_path / "weights.pth")
    got = caught.value.details["got"]
    assert "1 missing: 1.weight" in got
    assert "1 unexpected: head.weight" in got
    assert "1 of another shape: 3.weight (5, 16), not (2, 16)" in got
    assert caught.value.details["to do"]
    assert caught.value.exit_status == 2


def test_another_number_of_classes_is_recognised(tmp_path):
    state = {**STATE, "3.weight": torch.zeros(5, 16), "3.bias": torch.zeros(5)}
    with pytest.raises(WeightsError, match="number of classes"):
        load_state(network(), state, tmp_path / "weights.pth")
