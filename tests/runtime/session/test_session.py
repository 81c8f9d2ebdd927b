import sys

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeproof.runtime.errors import InputError, MissingDependency, ModelError
from edgeproof.runtime.session.session import Session, run_batched


def pictures(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, 3, 8, 8)).astype(np.float32)


def serialize(nodes, inputs, outputs, initializers=()):
    graph = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def floats(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


@pytest.fixture
def session(tiny_model):
    with Session(tiny_model()) as opened:
        yield opened


def test_it_knows_its_input_and_outputs(session):
    assert session.input_name == "input"
    assert session.input_shape == ("batch", 3, 8, 8)
    assert session.input_dtype == "float32"
    assert session.output_names == ("scores",)


@pytest.mark.parametrize("optimize", [True, False])
def test_it_gives_all_outputs_by_name(optimize):
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Add", ["x", "x"], ["twice"])]
    model = serialize(nodes, [floats("x", ["n", 2])], [floats("minus", ["n", 2]), floats("twice", ["n", 2])])
    batch = np.array([[1, 2], [3, 4]], np.float32)
    with Session(model, optimize=optimize) as session:
        answers = session.run(batch)
    assert list(answers) == ["minus", "twice"]
    assert np.array_equal(answers["minus"], -batch)
    assert np.array_equal(answers["twice"], 2 * batch)


@pytest.mark.parametrize(
    "shape", [(1, 3, 8, 9), (1, 1, 8, 8), (3, 8, 8), (1, 1, 3, 8, 8), (), (1, 8, 8, 3), (0,)]
)
def test_another_shape_is_refused(session, shape):
    with pytest.raises(InputError, match="does not fit the model") as caught:
        session.run(np.zeros(shape, np.float32))
    assert "float32 of shape (batch, 3, 8, 8)" in str(caught.value)
    assert f"float32 of shape {shape}" in str(caught.value)


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int64", ">f4"])
def test_another_dtype_is_refused_rather_than_converted(session, dtype):
    with pytest.raises(InputError, match="does not fit the model") as caught:
        session.run(pictures(1).astype(dtype))
    assert str(np.dtype(dtype)) in str(caught.value)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_any_batch_fits_an_axis_that_has_a_name(session, batch):
    assert session.run(pictures(batch))["scores"].shape == (batch, 4)


def test_a_closed_session_is_refused(tiny_model):
    with Session(tiny_model()) as session:
        session.run(pictures(1))
    with pytest.raises(InputError, match="session is closed"):
        session.run(pictures(1))
    session.close()


@pytest.mark.parametrize("data", [b"", b"rubbish", b"\x00" * 100, b"\x08\x08"])
def test_bytes_that_are_no_model_are_refused(data):
    with pytest.raises(ModelError, match=r"ONNX Runtime \d.* does not accept the model"):
        Session(data)


def test_a_truncated_model_is_refused(tiny_model):
    model = tiny_model()
    with pytest.raises(ModelError, match="does not accept the model"):
        Session(model[: len(model) // 2])


@pytest.mark.parametrize("optimize", [True, False])
def test_a_model_whose_weights_lie_in_another_file_is_refused(tmp_path, monkeypatch, optimize):
    np.ones((64, 64), np.float32).tofile(tmp_path / "weights.bin")
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[64, 64])
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    model = serialize([node], [floats("x", ["n", 64])], [floats("y", ["n", 64])], [weights])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="does not accept the model"):
        Session(model, optimize=optimize)


def test_a_model_with_two_inputs_is_refused():
    node = helper.make_node("Add", ["left", "right"], ["y"])
    model = serialize([node], [floats("left", [2]), floats("right", [2])], [floats("y", [2])])
    with pytest.raises(ModelError, match="exactly one input") as caught:
        Session(model)
    assert "left, right" in str(caught.value)


def test_a_model_without_input_is_refused():
    constant = helper.make_tensor("value", TensorProto.FLOAT, [2], [1.0, 2.0])
    node = helper.make_node("Constant", [], ["y"], value=constant)
    with pytest.raises(ModelError, match="exactly one input") as caught:
        Session(serialize([node], [], [floats("y", [2])]))
    assert "none" in str(caught.value)


def test_a_failure_while_it_runs_names_the_batch():
    shape = helper.make_tensor("shape", TensorProto.INT64, [2], [3, 5])
    node = helper.make_node("Reshape", ["x", "shape"], ["y"])
    model = serialize([node], [floats("x", ["n", 4])], [floats("y", [3, 5])], [shape])
    with Session(model) as session, pytest.raises(ModelError, match=r"failed on a batch of shape \(2, 4\)"):
        session.run(np.zeros((2, 4), np.float32))


def test_without_onnxruntime_it_says_what_to_install(tiny_model, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependency, match="needs onnxruntime") as caught:
        Session(tiny_model())
    assert 'pip install "edgeproof[cpu]"' in str(caught.value)


# --- batches ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 2, 5, 7, 100])
def test_batches_are_joined_in_order(session, batch):
    samples = pictures(7)
    joined = run_batched(session, samples, batch)
    assert np.allclose(joined["scores"], session.run(samples)["scores"], atol=1e-6)


def test_no_batch_is_larger_than_asked_for():
    # Each row of the output is the size of the batch that it came with.
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"], start=0, end=1),
        helper.make_node("Cast", ["shape"], ["size"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "zero"], ["zeros"]),
        helper.make_node("Add", ["zeros", "size"], ["y"]),
    ]
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0.0])
    model = serialize(nodes, [floats("x", ["n", 1])], [floats("y", ["n", 1])], [zero])
    with Session(model) as session:
        sizes = run_batched(session, np.zeros((7, 1), np.float32), 3)["y"].ravel()
    assert sizes.tolist() == [3, 3, 3, 3, 3, 3, 1]
