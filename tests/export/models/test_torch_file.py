"""Files that torch wrote, given where they do not belong."""

import zipfile

import pytest
import torch
from torch import nn

from edgeproof.export.models.torch_file import is_torchscript
from edgeproof.export.pretrained.state_dict import read_weights
from edgeproof.export.sources import registry
from edgeproof.runtime.errors import ModelError, WeightsError

ADVICE_OF_TORCH = "weights_only=False"


@pytest.fixture
def scripted(tmp_path):
    """TorchScript as torch.jit.save lays it out."""
    path = tmp_path / "scripted.pt"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("data.pkl", "code/__torch__.py", "constants.pkl", "version"):
            archive.writestr(f"scripted/{name}", b"")
    return path


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    return path


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated
def test_what_torch_writes_is_told_apart(scripted, weights, tmp_path):
    own = tmp_path / "own.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), own)
    assert is_torchscript(scripted)
    assert is_torchscript(own)
    assert not is_torchscript(weights)


def test_torchscript_is_refused_as_a_model_and_as_weights(scripted):
    with pytest.raises(ModelError, match="is TorchScript") as model:
        registry.find(str(scripted))
    with pytest.raises(WeightsError, match="is TorchScript") as state:
        read_weights(scripted)
    for caught in (model, state):
        assert "torch.save(network.state_dict(), FILE)" in caught.value.details["to do"]
        assert ADVICE_OF_TORCH not in str(caught.value)


def test_weights_are_no_model(weights, tmp_path):
    with pytest.raises(ModelError, match="holds weights, and no network") as caught:
        registry.find(str(weights))
    assert "--weights FILE" in caught.value.details["to do"]
    with pytest.raises(ModelError, match="There is no file"):
        registry.find(str(tmp_path / "absent.pt"))


@pytest.mark.parametrize("data", [b"", b"PK\x05\x06" + b"\xff" * 18, b"\x80\x02."])
def test_empty_and_damaged_files_are_refused_as_weights(tmp_path, data):
    path = tmp_path / "damaged.pth"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="damaged") as caught:
        read_weights(path)
    assert ADVICE_OF_TORCH not in str(caught.value)
    if not data:
        assert "is empty" in str(caught.value)
