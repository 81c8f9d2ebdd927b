"""A network's logits: what it puts out before the Softmax or Sigmoid that may end it.

Probabilities say little of what INT8 does: where they saturate a large error vanishes, and between they make
a small one large. Ranges are therefore chosen, layers ranked and models judged on the logits, whose order is
that of the probabilities; the last node is put back behind the INT8 model as it was.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import NodeProto, TensorProto

from ..onnx_graph.graph import makers

FINAL_ACTIVATIONS = ("Softmax", "LogSoftmax", "Sigmoid")
LOGITS = "edgeproof.logits"  # how they are called as an output beside the probabilities


def without_final_activation(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the node that makes probabilities of its logits; the model itself without one.

    Args:
        model: in any precision.
    """
    last = final_activation(model)
    if last is None:
        return model
    logits = onnx.ModelProto()
    logits.CopyFrom(model)
    logits.graph.node.remove(last)
    logits.graph.output[0].name = last.input[0]
    for info in [info for info in logits.graph.value_info if info.name == last.input[0]]:
        logits.graph.value_info.remove(info)
    return logits


def with_final_activation(logits: onnx.ModelProto, whole: onnx.ModelProto) -> onnx.ModelProto:
    """A model of logits, with the last node of the model that it was made from; itself where there is none.

    Args:
        logits: made from what `without_final_activation` gave for `whole`; float32 logits.
        whole: the float32 model.
    """
    last = final_activation(whole)
    if last is None:
        return logits
    model = onnx.ModelProto()
    model.CopyFrom(logits)
    model.graph.node.append(last)
    model.graph.output[0].CopyFrom(whole.graph.output[0])
    return model


def showing_logits(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its logits as a second output, LOGITS, in float32; itself where it ends in them.

    Args:
        model: in any precision; a float16 model may cast the probabilities to float32.
    """
    last = _behind_cast(model)
    if last is None:
        return model
    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.node.append(onnx.helper.make_node("Cast", [last.input[0]], [LOGITS], to=TensorProto.FLOAT))
    logits = shown.graph.output.add()
    logits.CopyFrom(model.graph.output[0])
    logits.name = LOGITS
    return shown


def final_activation(model: onnx.ModelProto) -> NodeProto | None:
    """The node that makes probabilities of logits, if the model's only output comes from one."""
    if len(model.graph.output) != 1:
        return None
    return _activation(makers(model), model.graph.output[0].name)


def _behind_cast(model: onnx.ModelProto) -> NodeProto | None:
    """The same, where a Cast may follow it."""
    if len(model.graph.output) != 1:
        return None
    made_by, name = makers(model), model.graph.output[0].name
    last = made_by.get(name)
    return _activation(made_by, last.input[0] if last is not None and last.op_type == "Cast" else name)


def _activation(made_by: Mapping[str, NodeProto], name: str) -> NodeProto | None:
    """What makes probabilities of this name, if it makes them of what another node made."""
    last = made_by.get(name)
    ends = last is not None and last.op_type in FINAL_ACTIVATIONS and last.input[0] in made_by
    return last if ends else None
