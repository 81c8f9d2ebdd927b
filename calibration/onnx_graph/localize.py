"""Where two forms of a model part: the first node whose values differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ...runtime.session.session import Session
from .graph import describe, expose, makers


@dataclass(frozen=True)
class Divergence:
    """The first node, in the order of the graph, whose value is off.

    Attributes:
        node: operator, name and PyTorch module.
        value: name of the value.
        relative_l2: norm of its error over norm of the reference.
    """

    node: str
    value: str
    relative_l2: float

    def __str__(self) -> str:
        return f"{self.node} (relative error of {self.value!r}: {self.relative_l2:.2g})"


def first_divergence(
    model: onnx.ModelProto, inputs: NDArray[Any], reference: Mapping[str, NDArray[Any]], limit: float
) -> Divergence | None:
    """Find the first node whose output is further than `limit` from the reference value of the same name.

    Args:
        model: the candidate.
        inputs: one batch.
        reference: values of the trusted form on that batch, by name.
        limit: largest norm of the error over norm of the reference that is still the same.

    Returns:
        The divergence; None when all values that both forms name agree.
    """
    made_by = makers(model)
    shared = [name for name in made_by if name in reference]
    with Session(expose(model, shared).SerializeToString(), optimize=False) as session:
        values = session.run(inputs)
    for name in shared:
        error = _relative_error(reference[name], values[name])
        if not error <= limit:
            return Divergence(describe(made_by[name]), name, error)
    return None


def _relative_error(reference: NDArray[Any], candidate: NDArray[Any]) -> float:
    if reference.shape != candidate.shape:
        return float("inf")
    wanted, got = reference.astype(np.float64), candidate.astype(np.float64)
    scale = float(np.linalg.norm(wanted))
    error = float(np.linalg.norm(got - wanted))
    if error == 0:
        return 0.0
    return error / scale if scale > 0 else float("inf")
