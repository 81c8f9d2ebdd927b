"""Pre-flight: with a pretended compiler everywhere, and with NVIDIA's own where it is installed."""

import json
import os
import sys

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeproof.calibration.preflight import check as module
from edgeproof.calibration.preflight.check import (
    USUAL_BATCH,
    PreflightRequest,
    input_profile,
    is_installed,
    preflight,
)
from edgeproof.runtime.errors import InputError, MissingDependency, ModelError, ProofError

FINE = {
    "compiler": "pretended 1",
    "warnings": [],
    "builds": [{"capability": "86", "seconds": 1, "problems": []}],
}
SCALE = np.float32(0.1)


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Puts a Python program in the compiler's place; it runs where the compiler would."""

    def pretend(program: str) -> None:
        file = tmp_path / "pretended.py"
        file.write_text(f"import json, os, sys\nfrom pathlib import Path\n{program}\n")
        monkeypatch.setattr(module, "COMMAND", (sys.executable, str(file)))

    return pretend


@pytest.fixture
def answer(pretend):
    """A pretended compiler that gives this answer."""
    return lambda found: pretend(f"Path('answer.json').write_text({json.dumps(found)!r})")


@pytest.fixture
def nvidia():
    if not is_installed():
        pytest.skip("NVIDIA's compiler is not installed")


@pytest.fixture
def relu(vector):
    return vector("y = Relu(x)").data


def inputs(*shapes):
    """A model with inputs of these shapes, a str or None for an axis that may vary."""
    infos = [helper.make_tensor_value_info(f"x{i}", TensorProto.FLOAT, s) for i, s in enumerate(shapes)]
    node = helper.make_node("Sum", [info.name for info in infos], ["y"])
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    return helper.make_model(helper.make_graph([node], "g", infos, outputs))


class TestShapes:
    @given(
        st.tuples(*[st.integers(1, 512)] * 3).map(sorted).map(tuple),
        st.lists(st.integers(1, 300), max_size=3),
    )
    def test_every_batch_keeps_the_sides(self, batch, sides):
        profile = input_profile(inputs(["batch", *sides]), PreflightRequest(batch=batch))
        assert profile == {"x0": tuple((size, *sides) for size in batch)}

    @given(st.lists(st.integers(1, 300), min_size=1, max_size=3), st.data())
    def test_open_sides_are_closed_by_the_request_alone(self, sides, data):
        opened = [data.draw(st.sampled_from([side, "open"])) for side in sides]
        profile = input_profile(inputs(["batch", *opened]), PreflightRequest(sides=tuple(sides)))
        assert {shape[1:] for shape in profile["x0"]} == {tuple(sides)} or "open" not in opened

    def test_the_usual_batch_is_taken_where_none_is_asked_for(self):
        shapes = input_profile(inputs(["batch", 3]), PreflightRequest())["x0"]
        assert tuple(shape[0] for shape in shapes) == USUAL_BATCH

    def test_a_fixed_input_needs_no_profile(self):
        assert input_profile(inputs([2, 3]), PreflightRequest()) == {}
        assert input_profile(inputs([2, 3]), PreflightRequest(batch=(2, 2, 2))) == {}

    def test_a_fixed_batch_with_open_sides_keeps_its_batch(self):
        profile = input_profile(inputs([1, 3, "h", "w"]), PreflightRequest(sides=(3, 8, 8)))
        assert profile == {"x0": ((1, 3, 8, 8),) * 3}

    def test_initializers_are_no_inputs(self):
        model = inputs(["batch", 3], ["n", "m"])
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 3), np.float32), "x1"))
        assert set(input_profile(model, PreflightRequest())) == {"x0"}

    def test_another_batch_than_the_fixed_one_is_refused(self):
        with pytest.raises(InputError, match="batches of 2 only"):
            input_profile(inputs([2, 3]), PreflightRequest(batch=(1, 2, 4)))

    @pytest.mark.parametrize("shape", [["batch", 3, 8, 8], [2, 3, 8, 8], ["batch", 3, "h", "w"]])
    def test_other_sides_than_the_models_are_refused(self, shape):
        with pytest.raises(InputError, match="takes other sides"):
            input_profile(inputs(shape), PreflightRequest(sides=(1, 8, 8)))

    def test_open_sides_are_not_guessed(self):
        with pytest.raises(ModelError, match="more open than its batch") as caught:
            input_profile(inputs(["batch", 3, "h", "w"]), PreflightRequest())
        assert caught.value.details["got"] == "3x?x?"
        assert "--input" in caught.value.details["to do"]

    def test_an_input_without_a_shape_is_refused(self):
        with pytest.raises(ModelError, match="has no shape"):
            input_profile(inputs(None), PreflightRequest())

    @pytest.mark.parametrize("batch", [(8, 1, 32), (1, 32, 8), (0, 1, 2), (-1, 1, 2)])
    def test_a_batch_out_of_order_is_refused(self, batch):
        with pytest.raises(InputError, match="out of order"):
            PreflightRequest(batch=batch)

    def test_no_capability_is_refused(self):
        with pytest.raises(InputError, match="No compute capability"):
            PreflightRequest(())


class TestPretended:
    def test_the_compiler_is_given_the_job_the_model_and_nothing_else(self, pretend, relu, tmp_path):
        pretend(
            "seen = {'names': sorted(os.listdir()), 'job': json.loads(Path('job.json').read_text()), "
            "'model': Path('model.onnx').read_bytes().hex(), 'folder': os.getcwd()}\n"
            f"Path({str(tmp_path / 'seen.json')!r}).write_text(json.dumps(seen))\n"
            f"Path('answer.json').write_text({json.dumps(FINE)!r})"
        )
        assert preflight(relu, PreflightRequest(("86", "120"), (1, 2, 3)))
        seen = json.loads((tmp_path / "seen.json").read_text())
        assert seen["names"] == ["job.json", "model.onnx"]
        assert bytes.fromhex(seen["model"]) == relu
        assert seen["job"] == {
            "capabilities": ["86", "120"],
            "profile": {"x": [[1, 4], [2, 4], [3, 4]]},
        }
        assert not os.path.exists(seen["folder"])

    def test_acceptance_is_recorded_with_what_was_built(self, answer, relu):
        answer({**FINE, "warnings": [{"name": "", "operator": "", "why": "file.cpp:1: an old opset"}]})
        result = preflight(relu)
        assert result
        record = result.record()
        assert (record.compiler, record.accepted) == ("pretended 1", True)
        assert record.message == "built for SM86, x 1x4 / 8x4 / 32x4; an old opset"
        result.require("fp32")

    def test_a_refusal_is_a_failed_proof_that_names_the_node(self, answer, relu):
        problem = {
            "index": 0,
            "name": "node_y",
            "operator": "Relu",
            "code": "INVALID_NODE",
            "why": "too blue",
        }
        answer({**FINE, "builds": [{"capability": "", "seconds": 1, "problems": [problem]}]})
        result = preflight(relu)
        assert not result
        assert result.record().accepted is False
        assert result.record().message == "Relu 'node_y': too blue"
        with pytest.raises(ProofError, match="int8 model") as caught:
            result.require("int8")
        assert caught.value.exit_status == 1
        assert "node_y" in caught.value.details["got"]
        assert caught.value.details["to do"]

    def test_one_refusing_capability_refuses_the_model(self, answer, relu):
        problem = {"name": "", "operator": "", "why": "no room"}
        refused = {"capability": "75", "seconds": 1, "problems": [problem]}
        answer({**FINE, "builds": [*FINE["builds"], refused]})
        assert str(preflight(relu, PreflightRequest(("86", "75")))) == "no room (SM75)"

    def test_a_graph_that_would_be_computed_otherwise_is_refused(self, answer, relu):
        warning = {"name": "node_y", "operator": "Relu", "why": "UINT8 ... Defaulting to INT8 instead."}
        answer({**FINE, "warnings": [warning, warning]})
        result = preflight(relu)
        assert not result
        assert len(result.refusals) == 1
        assert result.refusals[0].node == "Relu 'node_y'"

    @pytest.mark.parametrize(
        ("program", "told"),
        [
            ("os.abort()", "SIGABRT"),
            ("print('last words', file=sys.stderr); sys.exit(3)", "status 3; last words"),
            ("Path('answer.json').write_text('{')", "status 0"),
        ],
    )
    def test_a_compiler_that_breaks_off_has_not_accepted(self, pretend, relu, program, told):
        pretend(program)
        result = preflight(relu)
        assert not result
        assert told in str(result)

    def test_a_compiler_that_does_not_end_is_stopped(self, pretend, relu, monkeypatch):
        monkeypatch.setattr(module, "PATIENCE", 0.2)
        pretend("import time; time.sleep(600)")
        assert "did not end" in str(preflight(relu))

    def test_what_the_compiler_prints_stays_in_its_process(self, pretend, relu, capfd):
        pretend(
            "print('noise', flush=True); print('noise', file=sys.stderr)\n"
            f"Path('answer.json').write_text({json.dumps(FINE)!r})"
        )
        assert preflight(relu)
        assert capfd.readouterr() == ("", "")

    def test_without_the_compiler_the_message_says_what_to_install(self, answer, relu):
        answer({"absent": "No module named 'tensorrt_rtx'"})
        with pytest.raises(MissingDependency) as caught:
            preflight(relu)
        assert caught.value.exit_status == 2
        assert caught.value.details["to do"] == 'pip install "edgeproof[preflight]"'

    def test_a_compiler_that_does_not_load_is_told_apart(self, answer, relu):
        answer({"broken": "OSError: libtensorrt_rtx.so.1: no such file"})
        with pytest.raises(InputError, match="does not load"):
            preflight(relu)

    def test_an_unknown_capability_lists_the_known_ones(self, answer, relu):
        answer({"compiler": "pretended 1", "available": ["75", "86"]})
        with pytest.raises(InputError, match="capabilities") as caught:
            preflight(relu, PreflightRequest(("87",)))
        assert caught.value.details["available"] == "75, 86"

    def test_the_compiler_is_not_started_for_what_is_no_model(self, pretend, tmp_path):
        pretend(f"Path({str(tmp_path / 'started')!r}).touch()")
        with pytest.raises(ModelError, match="not an ONNX model"):
            preflight(b"no model")
        assert not (tmp_path / "started").exists()

    def test_weights_in_other_files_are_refused(self, vector):
        model = vector("y = Add(x, w)", w=np.ones(4, np.float32)).model
        onnx.external_data_helper.set_external_data(model.graph.initializer[0], "/dev/zero")
        with pytest.raises(ModelError, match="weights in other files"):
            preflight(model.SerializeToString())


@pytest.mark.usefixtures("nvidia")
class TestNvidia:
    def test_a_float_network_is_accepted_in_silence(self, network, capfd):
        result = preflight(network.data)
        assert result, str(result)
        assert result.compiler.startswith("tensorrt-rtx 1.")
        assert result.profile == {"image": tuple((size, 3, 16, 16) for size in USUAL_BATCH)}
        assert capfd.readouterr() == ("", "")

    def test_symmetric_int8_with_a_float_bias_is_accepted(self, vector):
        body = """
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            w = DequantizeLinear<axis=1>(wq, ws, wz)
            y = Gemm(d, w, b)"""
        weights = {"wq": np.ones((4, 4), np.int8), "ws": np.full(4, SCALE), "wz": np.zeros(4, np.int8)}
        model = vector(body, s=SCALE, z=np.int8(0), b=np.ones(4, np.float32), **weights)
        result = preflight(model.data, PreflightRequest(("86", "120")))
        assert result, str(result)

    @pytest.mark.parametrize(
        ("body", "weights", "node", "remedy"),
        [
            (
                "b = DequantizeLinear(q, s)\n y = Add(x, b)",
                {"q": np.ones(4, np.int32), "s": SCALE},
                "DequantizeLinear 'node_b'",
                "leave biases float",
            ),
            (
                "q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z)",
                {"s": SCALE, "z": np.uint8(128)},
                "QuantizeLinear 'node_q'",
                "zero point 0",
            ),
            (
                "q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z)",
                {"s": SCALE, "z": np.uint8(0)},
                "QuantizeLinear 'node_q'",
                "zero point 0",
            ),
            (
                "q = QuantizeLinear(x, s, z)\n y = DequantizeLinear(q, s, z)",
                {"s": np.float32(0), "z": np.int8(0)},
                "QuantizeLinear 'node_q'",
                "dead channel",
            ),
            ("y = custom.Own(x)", {}, "Own 'node_y'", "support matrix"),
            ("r = Relu(x)\n y = Det(r)", {}, "Det 'node_y'", "support matrix"),
            ("y = Add(x, nowhere)", {}, "Add 'node_y'", "onnx.checker"),
            ("y = Add(x, w)", {"w": np.ones(5, np.float32)}, "Add 'node_y'", "dynamic batch"),
            ("y = Reshape(x, k)", {"k": np.array([2, 4])}, "Reshape 'node_y'", "--batch N,N,N"),
        ],
    )
    def test_what_is_refused_names_its_node_and_a_remedy(self, vector, body, weights, node, remedy):
        result = preflight(vector(body, **weights).data)
        assert not result
        assert result.refusals[0].node == node
        assert remedy in result.refusals[0].advice
        assert "/_src/" not in str(result)

    def test_every_unsupported_node_is_listed(self, vector):
        result = preflight(vector("a = custom.One(x)\n b = Relu(a)\n y = custom.Two(b)").data)
        assert [refusal.node for refusal in result.refusals] == ["One 'node_a'", "Two 'node_y'"]

    def test_a_capability_without_the_kernel_is_named(self, vector):
        """Turing has no float32 kernel for a Gemm; the graph itself is sound."""
        model = vector("y = Gemm(x, w)", w=np.ones((4, 4), np.float32))
        refusal = preflight(model.data, PreflightRequest(("86", "75"))).refusals[0]
        assert (refusal.node, refusal.capability) == ("Gemm 'node_y'", "75")
        assert "float16" in refusal.advice

    def test_an_unknown_capability_lists_the_compilers_own(self, relu):
        with pytest.raises(InputError) as caught:
            preflight(relu, PreflightRequest(("86", "87")))
        assert "86" in caught.value.details["available"]

    def test_an_old_opset_is_accepted_with_a_remark(self, vector):
        result = preflight(vector("y = Relu(x)", opset=6).data)
        assert result
        assert "opset 7" in result.warnings[0]
