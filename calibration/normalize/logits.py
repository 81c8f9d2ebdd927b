"""A network's scores: what it puts out before the Softmax or Sigmoid that may end it.

Probabilities say little of what INT8 does: where they saturate a large error vanishes, and between they make
a small one large. Ranges are therefore chosen, layers ranked and models judged on the scores, whose order is
that of the probabilities; the last node is put back behind the INT8 model as it was.
"""

from __future__ import annotations

import onnx
from onnx import NodeProto

from ..artifact import OnnxArtifact
from ..onnx_graph.graph import makers

ENDINGS = ("Softmax", "LogSoftmax", "Sigmoid")


def scores_of(artifact: OnnxArtifact) -> OnnxArtifact:
    """The model without the node that makes probabilities of its scores; the artifact itself without one.

    Args:
        artifact: a float32 model, normalized.
    """
    last = ending(artifact.model)
    if last is None:
        return artifact
    model = onnx.ModelProto()
    model.CopyFrom(artifact.model)
    model.graph.node.remove(last)
    model.graph.output[0].name = last.input[0]
    for info in [info for info in model.graph.value_info if info.name == last.input[0]]:
        model.graph.value_info.remove(info)
    return artifact.derive(model, "scores", "fp32")


def with_ending(int8: OnnxArtifact, whole: OnnxArtifact) -> OnnxArtifact:
    """The INT8 model with the last node of the model whose scores it puts out.

    Args:
        int8: made from the artifact that `scores_of` gave for `whole`.
        whole: the float32 model.
    """
    last = ending(whole.model)
    if last is None:
        return int8
    model = onnx.ModelProto()
    model.CopyFrom(int8.model)
    model.graph.node.append(last)
    model.graph.output[0].CopyFrom(whole.model.graph.output[0])
    return whole.derive(model, int8.stage, int8.precision)


def ending(model: onnx.ModelProto) -> NodeProto | None:
    """The node that makes probabilities of scores, if the model's only output comes from one."""
    if len(model.graph.output) != 1:
        return None
    made_by = makers(model)
    last = made_by.get(model.graph.output[0].name)
    ends = last is not None and last.op_type in ENDINGS and last.input[0] in made_by
    return last if ends else None
