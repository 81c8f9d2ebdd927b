"""What differs between two forms of a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.bundle.parity import TF32_TOLERANCE, TOLERANCES, Parity, Tolerance, compare_outputs
from ...runtime.errors import DataError
from ...runtime.providers.registry import PROVIDERS
from ...runtime.tasks.base import Outputs, Task
from ...runtime.tasks.outputs import specs_of
from ...runtime.tasks.registry import infer_task
from .form import Form, Show
from .saved import LAYER_SAMPLES

if TYPE_CHECKING:
    from ...calibration.onnx_graph.depth import DepthError

SAME_NAMES = "no layer has the same name in both"


@dataclass(frozen=True)
class Compared:
    """One of the two forms: as it was typed, its precision, and where it ran."""

    title: str
    precision: str
    provider: str


@dataclass(frozen=True)
class Comparison:
    """What was found; its truth value is the verdict.

    Attributes:
        first, second: the forms; the first is the reference.
        inputs: how many.
        parity: of all outputs, by the tolerance of the coarser precision.
        layers: the error of each layer that both name, from the input on.
        layer_inputs: on how many inputs that was measured.
        unmatched: why no layer was compared; empty where some were.
        first_off: the first layer whose error is above the tolerance; None where there is none.
        worst: the layer with the largest error; None where no layer was compared.
    """

    first: Compared
    second: Compared
    inputs: int
    parity: Parity
    layers: Sequence[DepthError]
    layer_inputs: int
    unmatched: str
    first_off: DepthError | None
    worst: DepthError | None

    def __bool__(self) -> bool:
        return self.parity.passed


def compare_forms(first: Form, second: Form, inputs: NDArray[Any], task: Task | None = None) -> Comparison:
    """Compare every output, then every layer that both forms name.

    Args:
        first: the reference.
        second: the other.
        inputs: of both, shape (N, ...).
        task: what the answers mean; None for what the reference's suggest.

    Raises:
        DataError: the forms have different outputs.
    """
    wanted = first.outputs(inputs)
    got = _under_the_same_names(wanted, second.outputs(inputs))
    task = (task or infer_task(wanted)).for_input(inputs.shape[1:])
    specs = specs_of(wanted)
    task.require_fit(specs, ())
    tolerance = max(map(_tolerance, (first, second)), key=lambda found: found.relative_l2)
    parity = compare_outputs(wanted, got, tolerance, task, specs)
    layers, unmatched = _layers(first, second, inputs[:LAYER_SAMPLES])
    return Comparison(
        first=Compared(first.title, first.precision, first.provider),
        second=Compared(second.title, second.precision, second.provider),
        inputs=len(inputs),
        parity=parity,
        layers=layers,
        layer_inputs=min(LAYER_SAMPLES, len(inputs)) if layers else 0,
        unmatched=unmatched,
        first_off=next((layer for layer in layers if layer.relative > tolerance.relative_l2), None),
        worst=max(layers, key=lambda layer: layer.relative, default=None),
    )


def _tolerance(form: Form) -> Tolerance:
    tf32 = form.provider in PROVIDERS and PROVIDERS[form.provider].uses_tf32
    return TF32_TOLERANCE if tf32 and form.precision == "fp32" else TOLERANCES[form.precision]


def _under_the_same_names(wanted: Outputs, got: Outputs) -> Outputs:
    """The other's outputs; of other names in the order in which they stand."""
    if set(wanted) == set(got):
        return {name: got[name] for name in wanted}
    shapes = [[values.shape for values in outputs.values()] for outputs in (wanted, got)]
    if shapes[0] != shapes[1]:
        raise DataError(
            "The two models have different outputs.",
            wanted=", ".join(f"{name} {values.shape}" for name, values in wanted.items()),
            got=", ".join(f"{name} {values.shape}" for name, values in got.items()),
        )
    return dict(zip(wanted, got.values(), strict=True))


def _layers(first: Form, second: Form, samples: NDArray[Any]) -> tuple[list[DepthError], str]:
    closed = first.closed or second.closed
    if closed:
        return [], closed
    from ...calibration.onnx_graph.depth import DepthError, matched, unexplained

    sides = first.layers(), second.layers()
    names = matched(sides[0].known, sides[1].known)
    if not names:
        return [], SAME_NAMES
    with ExitStack() as stack:
        shows = [stack.enter_context(side.show(names)) for side in sides]
        errors = unexplained(names, _pairs(shows, samples))
    nodes = sides[0].known.values
    return [DepthError(name, nodes[name], error) for name, error in zip(names, errors, strict=True)], ""


def _pairs(
    shows: Sequence[Show], samples: NDArray[Any]
) -> Iterator[tuple[Mapping[str, NDArray[Any]], Mapping[str, NDArray[Any]]]]:
    first, second = shows
    for position in range(len(samples)):
        sample = np.ascontiguousarray(samples[position : position + 1])
        yield first(position, sample), second(position, sample)
