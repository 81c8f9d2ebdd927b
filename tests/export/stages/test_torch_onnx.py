"""What the exported file is like, and what happens when a network cannot be exported."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgeproof.calibration.onnx_graph.graph import opset
from edgeproof.export.stages.torch_onnx import export_onnx, intermediate_values
from edgeproof.runtime.errors import ExportError, ModelError
from edgeproof.runtime.session.session import Session

EXAMPLE = np.linspace(-1, 1, 4 * 3 * 8 * 8, dtype=np.float32).reshape(4, 3, 8, 8)


def test_opset_dynamic_batch_and_names(sample):
    model = sample.exported.artifact.model
    onnx.checker.check_model(model, full_check=True)
    assert opset(model) == 20
    assert [value.name for value in model.graph.input] == ["input"]
    assert [value.name for value in model.graph.output] == ["output"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_one_file_holds_all(sample):
    assert all(not tensor.external_data for tensor in sample.exported.artifact.model.graph.initializer)


def test_no_folder_of_this_machine_travels(sample):
    data = sample.exported.artifact.data
    assert str(Path.home()).encode() not in data
    assert str(Path(torch.__file__).parent).encode() not in data
    assert b"stack_trace" not in data


def test_nodes_keep_the_path_of_their_module(sample):
    assert b"block.2" in sample.exported.artifact.data


def test_pytorchs_intermediate_values_carry_the_names_of_the_onnx_values(sample):
    values = intermediate_values(sample.exported.program, sample.reference.inputs)
    produced = {name for node in sample.exported.artifact.model.graph.node for name in node.output}
    assert len(produced & set(values)) >= len(produced) - 2  # the output itself is renamed


class Two(nn.Module):
    def forward(self, x):
        return x.mean((2, 3)), x.amax((2, 3))


def test_several_outputs_are_named_in_order():
    exported = export_onnx(Two().eval(), EXAMPLE)
    with Session(exported.artifact.data) as session:
        answers = session.run(EXAMPLE)
    assert list(answers) == ["output", "output_1"]
    np.testing.assert_allclose(answers["output_1"], EXAMPLE.max((2, 3)))


class Branching(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class FixedBatch(nn.Module):
    def forward(self, x):
        return x.reshape(2, 192)


class Dictionary(nn.Module):
    def forward(self, x):
        return {"scores": x}


class Picky(nn.Module):
    def forward(self, x):
        raise ValueError("I take 5 channels")


@pytest.mark.parametrize(
    ("network", "kind", "message"),
    [
        (Branching(), ExportError, "exporter failed"),
        (FixedBatch(), ExportError, "batches of 2 only"),
        (Dictionary(), ModelError, "outputs cannot be named"),
        (Picky(), ModelError, "I take 5 channels"),
    ],
)
def test_what_cannot_be_exported_is_said(network, kind, message):
    with pytest.raises(kind, match=message):
        export_onnx(network.eval(), EXAMPLE)
