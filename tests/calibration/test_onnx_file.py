"""Users' ONNX files: whole, with weights beside them, or not ONNX at all."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.graph import array_of
from edgeproof.calibration.onnx_file import is_whole, parse_onnx, read_onnx
from edgeproof.runtime.errors import InputError, ModelError


@pytest.fixture
def model(vector):
    return vector("y = Add(x, w)", w=np.arange(4, dtype=np.float32)).model


@pytest.fixture
def divided(model, tmp_path):
    """A model whose weights are in a file beside it."""
    path = tmp_path / "divided.onnx"
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def test_a_whole_model_is_read(model, tmp_path):
    onnx.save_model(model, tmp_path / "model.onnx")
    assert read_onnx(tmp_path / "model.onnx") == model


def test_weights_beside_the_file_are_read_with_it(divided):
    assert not is_whole(onnx.load_model(divided, load_external_data=False))
    found = read_onnx(divided)
    assert is_whole(found)
    np.testing.assert_array_equal(array_of(found.graph.initializer[0]), np.arange(4, dtype=np.float32))


def test_weights_that_were_left_behind_are_named(divided):
    (divided.parent / "weights.bin").unlink()
    with pytest.raises(ModelError, match="cannot be read") as caught:
        read_onnx(divided)
    assert "whole folder" in caught.value.details["to do"]


def test_weights_outside_the_folder_are_refused(divided, tmp_path):
    model = onnx.load_model(divided, load_external_data=False)
    secret = tmp_path / "elsewhere" / "secret.bin"
    secret.parent.mkdir()
    secret.write_bytes(bytes(16))
    (tmp_path / "here").mkdir()
    for entry in model.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = "../elsewhere/secret.bin"
    (tmp_path / "here" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="cannot be read"):
        read_onnx(tmp_path / "here" / "model.onnx")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"absent\.onnx cannot be read"):
        read_onnx(tmp_path / "absent.onnx")


@pytest.mark.parametrize("data", [b"", b"this is not ONNX", b"\x89PNG\r\n\x1a\n" * 4])
def test_what_is_not_onnx(data):
    with pytest.raises(ModelError, match=r"model\.onnx is not an ONNX model"):
        parse_onnx(data, "model.onnx")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_graph_or_that_message(data):
    with suppress(ModelError):
        assert parse_onnx(data, "some bytes").graph.node
