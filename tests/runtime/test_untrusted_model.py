"""A model from a stranger sets no session options and brings no operators of its own."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from edgeproof.runtime.errors import ModelError
from edgeproof.runtime.session.session import Session


@pytest.mark.parametrize("asked", ["", "1"])
def test_options_in_a_models_metadata_are_not_taken(tiny_model, tmp_path, monkeypatch, asked):
    """ONNX Runtime takes them where ORT_LOAD_CONFIG_FROM_MODEL is 1, and would write a profile here."""
    model = onnx.load_model_from_string(tiny_model())
    options = {"session_options": {"enable_profiling": 1, "intra_op_num_threads": 3}}
    model.metadata_props.add(key="ort_config", value=json.dumps(options))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ORT_LOAD_CONFIG_FROM_MODEL", asked)
    with Session(model.SerializeToString()) as session:
        session.run(np.zeros((1, 3, 8, 8), np.float32))
    assert not list(tmp_path.iterdir())


def test_an_operator_that_is_not_onnxs_own_is_refused(tiny_model):
    model = onnx.load_model_from_string(tiny_model())
    model.graph.node[0].domain = "evil.example"
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    with pytest.raises(ModelError, match="does not accept the model"):
        Session(model.SerializeToString())
