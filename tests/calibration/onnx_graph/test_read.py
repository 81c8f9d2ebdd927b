"""Users' ONNX files: whole, with weights beside them, or not ONNX at all."""

from contextlib import suppress

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from edgeproof.calibration.onnx_graph.graph import array_of
from edgeproof.calibration.onnx_graph.read import is_whole, parse_onnx, read_onnx
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


def relocate(path, **entries):
    """Rewrites where the first weight lies; an entry that is None is taken out."""
    model = onnx.load_model(path, load_external_data=False)
    tensor = model.graph.initializer[0]
    known = {entry.key: entry.value for entry in tensor.external_data} | entries
    del tensor.external_data[:]
    for key, value in known.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "link.bin", ".", ""])
def test_weights_outside_the_folder_are_refused(model, tmp_path, location):
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(16))
    path = tmp_path / "here" / "model.onnx"
    path.parent.mkdir()
    (path.parent / "link.bin").symlink_to(secret)
    onnx.save_model(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    relocate(path, location=location)
    with pytest.raises(ModelError, match="cannot be read"):
        read_onnx(path)


@pytest.mark.parametrize("length", [16, None])
@pytest.mark.parametrize("kept", [0, 8, 9, 15])
def test_weights_that_were_cut_short_are_refused_by_name(divided, length, kept):
    relocate(divided, length=length)
    weights = divided.parent / "weights.bin"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match=r"(?s)cannot be read.*got: .*'w'"):
        read_onnx(divided)


WRONG_SIZES = {
    "more is there": (20, {"length": None}),
    "less is claimed": (16, {"length": 8}),
    "more is claimed": (20, {"length": 20}),
    "from the end on": (16, {"offset": 16, "length": None}),
    "from beyond the end": (16, {"offset": 17}),
    "from before the start": (16, {"offset": -4}),
    "not a number": (16, {"length": "all"}),
}


@pytest.mark.parametrize(("size", "entries"), WRONG_SIZES.values(), ids=WRONG_SIZES)
def test_weights_of_another_size_are_refused(divided, size, entries):
    relocate(divided, **entries)
    (divided.parent / "weights.bin").write_bytes(bytes(size))
    with pytest.raises(ModelError, match=r"(?s)cannot be read.*got:") as caught:
        read_onnx(divided)
    assert "whole folder" in caught.value.details["to do"]


def test_without_a_length_the_rest_of_the_file_is_taken(divided):
    weights = divided.parent / "weights.bin"
    weights.write_bytes(bytes(3) + np.arange(4, dtype=np.float32).tobytes())
    relocate(divided, offset=3, length=None)
    np.testing.assert_array_equal(array_of(read_onnx(divided).graph.initializer[0]), np.arange(4))


def test_constants_beside_the_file_are_read_with_it(vector, tmp_path):
    constant = vector("k = Constant<value = float[4] {0, 1, 2, 3}>() y = Add(x, k)").model
    tensor = constant.graph.node[0].attribute[0].t
    tensor.CopyFrom(numpy_helper.from_array(np.arange(4, dtype=np.float32), "k"))
    path = tmp_path / "constant.onnx"
    onnx.save_model(
        constant,
        path,
        save_as_external_data=True,
        location="k.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    assert not is_whole(onnx.load_model(path, load_external_data=False))
    found = read_onnx(path)
    assert is_whole(found)
    np.testing.assert_array_equal(array_of(found.graph.node[0].attribute[0].t), np.arange(4))


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
