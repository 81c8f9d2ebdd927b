"""PyTorch to ONNX, with the dynamo exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.fx import Interpreter

from ...calibration.artifact import OnnxArtifact
from ...calibration.onnx_graph.graph import opset
from ...calibration.onnx_graph.shapes import input_of
from ...runtime.errors import ExportError, ModelError, gist
from ..sources.origin import Origin

OPSET = 20
INPUT = "input"
OUTPUT = "output"
STACK_TRACE = "pkg.torch.onnx.stack_trace"


class TorchOrigin(Origin):
    """A network of PyTorch's, in evaluation mode, on the CPU.

    Args:
        network: takes one tensor, and returns one or several.
        program: PyTorch's graph of it, where there is one already.
    """

    title = "PyTorch"

    def __init__(self, network: nn.Module, program: torch.export.ExportedProgram | None = None) -> None:
        self._network = network
        self._program = program

    def answers(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The network's own answers."""
        return torch_answers(self._network, inputs)

    def first_model(self, example: NDArray[np.float32]) -> OnnxArtifact:
        """What the dynamo exporter makes of it."""
        exported = export_onnx(self._network, example)
        self._program = exported.program
        return exported.artifact

    def inside(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """What PyTorch computes at every node of the exported graph."""
        return {} if self._program is None else intermediate_values(self._program, inputs)


@dataclass(frozen=True)
class Exported:
    """The exported model, and PyTorch's own graph of it, whose value names are the ONNX model's."""

    artifact: OnnxArtifact
    program: torch.export.ExportedProgram


def export_onnx(network: nn.Module, example: NDArray[np.float32]) -> Exported:
    """Export a network in evaluation mode, opset 20, with a dynamic batch.

    Args:
        network: takes one tensor, and returns one or several.
        example: real inputs, at least two, first axis the batch.

    Raises:
        ExportError: the exporter cannot express the network, fixes its batch, or gives another opset.
    """
    inputs = (torch.from_numpy(example[:2].copy()),)
    outputs = list(torch_answers(network, inputs[0].numpy()))
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                inputs,
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=outputs,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # torch.export fails in many ways, none of them documented
        raise ExportError(
            f"PyTorch's exporter failed: {gist(error)}",
            todo="run `edgeproof --debug export ...` for the whole report; control flow on values and fixed "
            "batch sizes in forward() are the usual causes",
        ) from error
    if program is None or program.exported_program is None:
        raise ExportError("PyTorch's exporter gave no program.")
    model = program.model_proto
    _check(model)
    _drop_stack_traces(model)
    return Exported(OnnxArtifact(model, "export"), program.exported_program)


def torch_answers(network: nn.Module, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """All outputs of a network in evaluation mode, named as the exporter names them.

    Args:
        network: takes one tensor, and returns one or several.
        inputs: shape (N, ...).

    Raises:
        ModelError: the network does not take the inputs, or its outputs are not tensors.
    """
    try:
        with torch.inference_mode():
            found = network(torch.from_numpy(inputs))
    except Exception as error:  # the user's network may raise anything
        raise ModelError(
            f"The network does not take an input of shape {inputs.shape}: {gist(error)}",
            todo="give its input with --input CxHxW",
        ) from error
    outputs = found if isinstance(found, (tuple, list)) else [found]
    if not outputs or not all(isinstance(output, torch.Tensor) for output in outputs):
        raise ModelError(
            "The network's outputs cannot be named.",
            wanted="a tensor, or a tuple of tensors",
            got=type(found).__name__,
        )
    return {OUTPUT if i == 0 else f"{OUTPUT}_{i}": output.numpy() for i, output in enumerate(outputs)}


def intermediate_values(
    program: torch.export.ExportedProgram, inputs: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    """What PyTorch computes at every node of the exported graph: value name to array."""
    recorder = _Recorder(program.module())
    with torch.inference_mode():
        recorder.run(torch.from_numpy(inputs))
    return recorder.values


class _Recorder(Interpreter):
    """Runs a torch.fx graph node by node and keeps every tensor."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.values: dict[str, NDArray[Any]] = {}

    def run_node(self, n: torch.fx.Node) -> object:
        value = super().run_node(n)
        if isinstance(value, torch.Tensor) and n.op != "get_attr":
            self.values[n.name] = value.detach().numpy()
        return value


def _check(model: onnx.ModelProto) -> None:
    if opset(model) != OPSET:
        raise ExportError("PyTorch's exporter gave another opset.", wanted=str(OPSET), got=str(opset(model)))
    batch = input_of(model).shape[0]
    if isinstance(batch, int):
        raise ExportError(f"The exported model takes batches of {batch} only.", wanted="a dynamic batch")
    onnx.checker.check_model(model, full_check=True)


def _drop_stack_traces(model: onnx.ModelProto) -> None:
    """Remove stack traces: they name folders of this machine, and a bundle is given to others."""
    values = (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output)
    for value in (*values, *model.graph.initializer):
        kept = [entry for entry in value.metadata_props if entry.key != STACK_TRACE]
        if len(kept) < len(value.metadata_props):
            copies = [onnx.StringStringEntryProto.FromString(entry.SerializeToString()) for entry in kept]
            value.ClearField("metadata_props")
            value.metadata_props.extend(copies)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints its progress and warns of its own internals; errors still come as exceptions."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
