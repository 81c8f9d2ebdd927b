"""A broken step is caught, and the node and module that broke are named."""

import numpy as np
import onnx
import pytest
import torch

from edgeproof.calibration.onnx_graph.graph import array_of, as_tensor
from edgeproof.export.stages.parity import Reference, prove
from edgeproof.export.stages.torch_onnx import TorchOrigin, export_onnx, torch_answers
from edgeproof.runtime.bundle.parity import TOLERANCES, compare_outputs
from edgeproof.runtime.errors import ParityError
from edgeproof.runtime.session.session import Session
from edgeproof.runtime.tasks.classification import Classification
from edgeproof.runtime.tasks.outputs import specs_of


def node_of(model: onnx.ModelProto, op_type: str, position: int = 0) -> onnx.NodeProto:
    return [node for node in model.graph.node if node.op_type == op_type][position]


def scale_weight(model, position, factor):
    name = node_of(model, "Conv", position).input[1]
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(as_tensor(name, array_of(tensor) * np.float32(factor)))


def one_weight_off(model):
    scale_weight(model, 1, 1.01)


def nan_weight(model):
    scale_weight(model, 1, np.nan)


def wrong_attribute(model):
    node = node_of(model, "Conv", 2)
    pads = next(attribute for attribute in node.attribute if attribute.name == "pads")
    del pads.ints[:]
    pads.ints.extend([0, 0, 2, 2])


def activation_after_addition(model):
    """Conv, HardSwish, Add becomes Conv, Add, HardSwish."""
    swish, add = node_of(model, "HardSwish"), node_of(model, "Add")
    index = list(add.input).index(swish.output[0])
    conv_output, added = swish.input[0], add.output[0]
    add.input[index] = conv_output
    add.output[0] = f"{added}.before"
    swish.input[0] = f"{added}.before"
    swish.output[0] = added
    nodes = list(model.graph.node)
    first, second = nodes.index(swish), nodes.index(add)
    nodes[first], nodes[second] = nodes[second], nodes[first]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    model.graph.ClearField("node")
    model.graph.node.extend(copies)


def test_the_true_export_passes(sample):
    parity = prove(sample.exported.artifact, sample.reference)
    assert parity
    assert parity.sqnr_db > 90
    assert parity.top1_agreement == 1


@pytest.mark.parametrize(
    ("change", "operator", "module"),
    [
        (one_weight_off, "Conv", "block.1"),
        (nan_weight, "Conv", "block.1"),
        (wrong_attribute, "Conv", "reduce.1"),
        (activation_after_addition, "HardSwish", "block.2"),
    ],
)
def test_a_broken_graph_is_caught_and_its_first_wrong_node_is_named(sample, change, operator, module):
    with pytest.raises(ParityError) as caught:
        prove(sample.altered(change), sample.reference)
    first = caught.value.details["available"]
    assert f"first node that differs: {operator} " in first
    assert f"PyTorch module {module!r}" in first
    assert caught.value.exit_status == 1


def test_a_classifier_with_swapped_classes_is_caught(sample):
    def swap(model):
        name = node_of(model, "Gemm").input[1]
        tensor = next(t for t in model.graph.initializer if t.name == name)
        tensor.CopyFrom(as_tensor(name, array_of(tensor)[::-1]))

    with pytest.raises(ParityError, match="output 'output'"):
        prove(sample.altered(swap), sample.reference)


def test_tiny_logits_do_not_pass_by_smallness(sample):
    """Scaled to 1e-9, all outputs lie below any absolute tolerance; a wrong layer must still show."""
    network = torch.nn.Sequential(sample.network, Scaled(1e-9)).eval()
    inputs = sample.reference.inputs
    exported = export_onnx(network, inputs)
    reference = Reference(
        inputs, torch_answers(network, inputs), TorchOrigin(network, exported.program), Classification()
    )
    assert prove(exported.artifact, reference)
    model = onnx.ModelProto()
    model.CopyFrom(exported.artifact.model)
    scale_weight(model, 2, 0.9)
    with pytest.raises(ParityError):
        prove(exported.artifact.derive(model, "export", "fp32"), reference)


def test_answers_that_depend_on_the_rest_of_the_batch_are_caught(sample):
    """Batch norm in training mode takes its statistics from the batch: 16 at once agree, fewer do not."""
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3, 2),
        torch.nn.BatchNorm2d(4, track_running_stats=False),
        torch.nn.Flatten(),
        torch.nn.Linear(4 * 15 * 15, 10),
    ).eval()
    inputs = sample.reference.inputs
    exported = export_onnx(network, inputs)
    reference = Reference(
        inputs, torch_answers(network, inputs), TorchOrigin(network, exported.program), Classification()
    )
    with Session(exported.artifact.data) as session:
        assert compare_outputs(
            reference.outputs,
            session.run(inputs),
            TOLERANCES["fp32"],
            Classification(),
            specs_of(reference.outputs),
        )
    with pytest.raises(ParityError, match="relative error"):
        prove(exported.artifact, reference)


class Scaled(torch.nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor
