"""The proof that a model gives the origin's answers, and what a precision's progress found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.artifact import OnnxArtifact
from ...calibration.onnx_graph.localize import first_divergence
from ...calibration.onnx_graph.shapes import input_of
from ...calibration.targets.base import Int8Result
from ...runtime.bundle.manifest import FloatPrecision, Preflight
from ...runtime.bundle.parity import TOLERANCES, Parity, compare_outputs, worst
from ...runtime.errors import ParityError
from ...runtime.session.session import Session, run_batched
from ...runtime.tasks.base import Task
from ...runtime.tasks.outputs import specs_of
from ..sources.origin import Origin

BATCH_SIZES = (1, 2, 7)
LOCALIZED_SAMPLES = 4
NOT_CHECKED = Preflight()
NO_NODE = "none: small errors add up over many nodes, or the export itself changed the network"


@dataclass(frozen=True)
class Reference:
    """The origin's own answers to real inputs.

    Attributes:
        inputs: as the models take them, shape (N, ...).
        outputs: by output name, each of shape (N, ...).
        origin: gave them, and can be looked into when answers differ.
        task: what they mean.
        tensors: the same inputs as the origin was given them; None where they are the same arrays.
    """

    inputs: NDArray[Any]
    outputs: Mapping[str, NDArray[Any]]
    origin: Origin
    task: Task
    tensors: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class PrecisionResult:
    """One precision after its progress: the model, its proofs, and what stayed float.

    Attributes:
        artifact: the model.
        parity: its comparison with PyTorch.
        kept: nodes that do not compute in the model's own precision, by name, and in which they do.
        reasons: why, by the same names.
        int8: how the INT8 model came about; None for the others.
        preflight: what NVIDIA's compiler said of it.
    """

    artifact: OnnxArtifact
    parity: Parity
    kept: Mapping[str, FloatPrecision] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    int8: Int8Result | None = None
    preflight: Preflight = NOT_CHECKED


def measure(artifact: OnnxArtifact, reference: Reference) -> Parity:
    """Compare with the origin at batch 1, 2 and 7, or at the model's own, and return the worst result."""
    tolerance, outputs = TOLERANCES[artifact.precision], specs_of(reference.outputs)
    own = input_of(artifact.model).shape[0]
    sizes = (own,) if isinstance(own, int) else BATCH_SIZES
    with Session(artifact.data) as session:
        return worst(
            [
                compare_outputs(
                    reference.outputs,
                    run_batched(session, reference.inputs, size),
                    tolerance,
                    reference.task,
                    outputs,
                )
                for size in sizes
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
    found = first_divergence(artifact.model, inputs, reference.origin.inside(tensors), limit)
    raise ParityError(
        f"After the stage '{artifact.stage}' the {artifact.precision} model does not give "
        f"{reference.origin.title}'s answers.",
        wanted=f"relative error at most {limit:g}, "
        f"{reference.task.agreement.name} at least {parity.tolerance.agreement:.0%}",
        got=f"output {parity.output!r}: {parity.reason}",
        available=f"first node that differs: {found or NO_NODE}",
        todo=_advice(artifact.precision),
    )


def _advice(precision: str) -> str:
    if precision == "fp16":
        return "leave fp16 out with --precision fp32,int8, or report the model"
    return "look at that module's forward(); report the model if its ONNX node looks right"
