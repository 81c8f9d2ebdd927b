"""One output in place of several, so that ranges, ranking and recovery see all of them.

Each part of the outputs is divided by the norm of its own signal, flattened, and joined with the others: the
squared error of the joined output is then the sum of the parts' relative squared errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ...runtime.tasks.outputs import Part
from .logits import without_final_activation

JOINED = "edgeproof.objective"
PREFIX = f"{JOINED}."


def objective(
    model: onnx.ModelProto, parts: Sequence[Part], answers: Mapping[str, NDArray[Any]]
) -> onnx.ModelProto:
    """What ranges, ranking and recovery look at: a model's logits, or all its outputs joined.

    Args:
        model: a float32 model, opset 13 or later.
        parts: of its outputs.
        answers: its outputs for some inputs, by name, each of shape (N, ...).
    """
    logits = without_final_activation(model)
    return logits if logits is not model else with_joined_outputs(model, parts, answers)


def with_joined_outputs(
    model: onnx.ModelProto, parts: Sequence[Part], answers: Mapping[str, NDArray[Any]]
) -> onnx.ModelProto:
    """The model with one output, shape (N, values), that holds every float part; itself if it has one part.

    Args:
        model: a float32 model, opset 13 or later.
        parts: of its outputs.
        answers: its outputs for some inputs, by name, each of shape (N, ...): they tell the signals.
    """
    floats = [part for part in parts if answers[part.output].dtype.kind == "f"]
    if len(floats) < 2 and len(model.graph.output) == 1:
        return model
    joined = onnx.ModelProto()
    joined.CopyFrom(model)
    graph = joined.graph
    flat: list[str] = []
    for index, part in enumerate(floats):
        nodes, weights = _scaled(part, _norm(part.of(answers)), f"{PREFIX}{index}")
        graph.node.extend(nodes)
        graph.initializer.extend(weights)
        flat.append(nodes[-1].output[0])
    graph.node.append(helper.make_node("Concat", flat, [JOINED], name=JOINED, axis=1))
    known = {info.name for info in graph.value_info}
    graph.value_info.extend(output for output in model.graph.output if output.name not in known)
    values = sum(int(np.prod(part.of(answers).shape[1:])) for part in floats)
    graph.ClearField("output")
    batch = model.graph.input[0].type.tensor_type.shape.dim[0]
    side = batch.dim_value or batch.dim_param or "batch"
    graph.output.append(helper.make_tensor_value_info(JOINED, TensorProto.FLOAT, [side, values]))
    return joined


def with_own_outputs(model: onnx.ModelProto, whole: onnx.ModelProto) -> onnx.ModelProto:
    """A model that was made from a joined one, with the outputs of the whole one; itself if none was joined.

    Args:
        model: made from what `with_joined_outputs` gave.
        whole: the model that was joined.
    """
    if not any(output.name == JOINED for output in model.graph.output):
        return model
    own = onnx.ModelProto()
    own.CopyFrom(model)
    for field in (own.graph.node, own.graph.initializer, own.graph.value_info):
        for index in reversed([i for i, item in enumerate(field) if _added(item.name)]):
            del field[index]
    own.graph.ClearField("output")
    own.graph.output.extend(whole.graph.output)
    names = {output.name for output in whole.graph.output}
    for info in [info for info in own.graph.value_info if info.name in names]:
        own.graph.value_info.remove(info)
    return own


def _scaled(part: Part, norm: float, name: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes that cut a part out, divide it by a norm and flatten it."""
    source = part.output
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []
    if part.axis is not None:
        stop = np.iinfo(np.int64).max if part.stop is None else part.stop
        for key, value in (("start", part.start), ("stop", stop), ("axis", part.axis)):
            weights.append(numpy_helper.from_array(np.array([value], np.int64), f"{name}.{key}"))
        inputs = [source, *(weight.name for weight in weights)]
        nodes.append(helper.make_node("Slice", inputs, [f"{name}.cut"], name=f"{name}.cut"))
        source = f"{name}.cut"
    weights.append(numpy_helper.from_array(np.array(1 / norm, np.float32), f"{name}.scale"))
    nodes.append(helper.make_node("Flatten", [source], [f"{name}.flat"], name=f"{name}.flat", axis=1))
    nodes.append(
        helper.make_node("Mul", [f"{name}.flat", f"{name}.scale"], [f"{name}.scaled"], name=f"{name}.scaled")
    )
    return nodes, weights


def _norm(values: NDArray[Any]) -> float:
    """Root of the mean, over the samples, of the squared signal."""
    signal = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    return float(np.linalg.norm(signal)) / np.sqrt(len(values)) or 1.0


def _added(name: str) -> bool:
    return name == JOINED or name.startswith(PREFIX)
