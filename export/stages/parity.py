"""The proof that a form of the model gives PyTorch's answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ...calibration.artifact import OnnxArtifact
from ...calibration.onnx_graph.localize import first_divergence
from ...runtime.bundle.parity import TOLERANCES, Parity, compare_outputs, worst
from ...runtime.errors import ParityError
from ...runtime.session.session import Session, run_batched
from .torch_onnx import OUTPUT, intermediate_values

BATCH_SIZES = (1, 2, 7)
LOCALIZED_SAMPLES = 4
NO_NODE = "none: small errors add up over many nodes, or torch.export itself changed the network"


@dataclass(frozen=True)
class Reference:
    """PyTorch's own answers to real inputs.

    Attributes:
        inputs: as the models take them, shape (N, ...).
        outputs: by output name, each of shape (N, ...).
        program: PyTorch's graph of the network, to look into when answers differ.
        tensors: the same inputs as PyTorch was given them; None where that is no other form.
    """

    inputs: NDArray[Any]
    outputs: Mapping[str, NDArray[np.float32]]
    program: torch.export.ExportedProgram
    tensors: NDArray[np.float32] | None = None


def torch_answers(network: nn.Module, inputs: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """All outputs of a network in evaluation mode, named as the exporter names them."""
    with torch.inference_mode():
        found = network(torch.from_numpy(inputs))
    tensors = [found] if isinstance(found, torch.Tensor) else list(found)
    return {OUTPUT if i == 0 else f"{OUTPUT}_{i}": tensor.numpy() for i, tensor in enumerate(tensors)}


def measure(artifact: OnnxArtifact, reference: Reference) -> Parity:
    """Compare with PyTorch at batch 1, 2 and 7, and return the worst result."""
    tolerance = TOLERANCES[artifact.precision]
    with Session(artifact.data) as session:
        return worst(
            [
                compare_outputs(reference.outputs, run_batched(session, reference.inputs, size), tolerance)
                for size in BATCH_SIZES
            ]
        )


def prove(artifact: OnnxArtifact, reference: Reference) -> Parity:
    """Measure, and stop if the answers differ.

    Raises:
        ParityError: names the worst output, and the first node and PyTorch module that differ.
    """
    parity = measure(artifact, reference)
    if parity:
        return parity
    limit = parity.tolerance.relative_l2
    inputs = reference.inputs[:LOCALIZED_SAMPLES]
    tensors = inputs if reference.tensors is None else reference.tensors[:LOCALIZED_SAMPLES]
    found = first_divergence(artifact.model, inputs, intermediate_values(reference.program, tensors), limit)
    raise ParityError(
        f"After the stage '{artifact.stage}' the {artifact.precision} model does not give PyTorch's answers.",
        wanted=f"relative error at most {limit:g}, "
        f"top-1 agreement at least {parity.tolerance.top1_agreement:.0%}",
        got=f"output {parity.output!r}: {parity.reason}",
        available=f"first node that differs: {found or NO_NODE}",
        todo=_advice(artifact.precision),
    )


def _advice(precision: str) -> str:
    if precision == "fp16":
        return "leave fp16 out with --precision fp32,int8, or report the model"
    return "look at that module's forward(); report the model if its ONNX node looks right"
