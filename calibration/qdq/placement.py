"""Where Q/DQ pairs stand around squeeze-and-excitation gates: three ways, of which a network takes the best.

What TensorRT makes of a gate depends on the network, and so does what rounding costs in it: in some the
factors feel it, in others the value that they scale does not. So all three are tried, and chosen by `choose`.
A network without gates has one placement.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx

from .gates import Gate, find_gates
from .quantized_inputs import LAYERS_ONLY, Placement, QuantizedInput, activations, find_quantized_inputs

CLOSE_DB = 0.5  # of SQNR: what lies nearer to the best than this is as good
BEST = "highest SQNR on held-back calibration inputs"
GATE_FLOAT, GATE_INT8 = "gate-float", "gate-int8"


@dataclass(frozen=True)
class Tried:
    """What came of one placement.

    Attributes:
        placement: its name.
        sqnr_db: signal over the error of INT8 in the first output, in dB, on calibration inputs that did not
            give the ranges; None where there is no error.
        accepted: whether the compiler builds it; None where there is no compiler.
        engine_bytes: size of the compiler's engine; None where there is none.
        layers: number of layers of the engine; None where there is none.
        int8_layers: number of those that read INT8 values; None where there is no engine.
    """

    placement: str
    sqnr_db: float | None
    accepted: bool | None = None
    engine_bytes: int | None = None
    layers: int | None = None
    int8_layers: int | None = None


@dataclass(frozen=True)
class PlacementChoice:
    """The placement of an INT8 model, and how it was found.

    Attributes:
        name: of the placement.
        reason: by what it was chosen, in words.
        tried: what was compared; empty where there was no choice.
    """

    name: str
    reason: str
    tried: tuple[Tried, ...] = ()


NO_CHOICE = PlacementChoice(LAYERS_ONLY.name, "the network has no gates, so there is one placement")


def placements(model: onnx.ModelProto) -> tuple[Placement, ...]:
    """The ways to quantize a network's gates; one where it has none."""
    gates = find_gates(model)
    return (LAYERS_ONLY, gate_float(gates), gate_int8(gates)) if gates else (LAYERS_ONLY,)


def gate_float(gates: Iterable[Gate]) -> Placement:
    """The whole gate stays float: its pool, its layers and their activations, and the factors."""
    return Placement(GATE_FLOAT, frozenset(node.output[0] for gate in gates for node in gate.inner))


def gate_int8(gates: Iterable[Gate]) -> Placement:
    """Both inputs of the multiplication are quantized, and the pool reads the same integers.

    NVIDIA's Q/DQ case of EfficientNet places the pairs so.
    """
    added = [
        site
        for gate in gates
        for site in (
            QuantizedInput(gate.pool.output[0], 0, gate.value),
            QuantizedInput(gate.mul.output[0], gate.position, gate.value),
            QuantizedInput(gate.mul.output[0], 1 - gate.position, gate.mul.input[1 - gate.position]),
        )
    ]
    return Placement(GATE_INT8, added=tuple(dict.fromkeys(added)))


def activations_of_all(model: onnx.ModelProto) -> list[str]:
    """The activations that any placement rounds, each once."""
    found = (
        activations(find_quantized_inputs(model, placement=placement)) for placement in placements(model)
    )
    return list(dict.fromkeys(name for names in found for name in names))


def choose(tried: Sequence[Tried]) -> PlacementChoice:
    """The placement to take: of those within 0.5 dB of the best, that of the best engine.

    The best engine has most layers in INT8; among equals it is the smallest. Without a compiler the highest
    SQNR decides.

    Args:
        tried: at least one.
    """
    built = [entry for entry in tried if entry.accepted]
    if not built:
        best = max(tried, key=_sqnr)
        refused = any(entry.accepted is False for entry in tried)
        why = "the compiler takes none" if refused else "there is no compiler to ask"
        return PlacementChoice(best.placement, f"{BEST} ({why})", tuple(tried))
    highest = max(map(_sqnr, built))
    close = [entry for entry in built if _sqnr(entry) >= highest - CLOSE_DB]
    best = max(close, key=lambda entry: (entry.int8_layers or 0, -(entry.engine_bytes or 0)))
    reason = f"{BEST}, by more than {CLOSE_DB:g} dB"
    if len(close) > 1:
        engine = f"{best.int8_layers} layers in INT8, {best.engine_bytes} bytes"
        reason = f"best engine ({engine}) of {len(close)} placements within {CLOSE_DB:g} dB of the best"
    return PlacementChoice(best.placement, reason, tuple(tried))


def _sqnr(entry: Tried) -> float:
    return math.inf if entry.sqnr_db is None else entry.sqnr_db
