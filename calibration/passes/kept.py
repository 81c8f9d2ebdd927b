"""What a model of a lower precision leaves float: each node by name, with its precision and why."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

from ...runtime.bundle.manifest import FloatPrecision


@dataclass(frozen=True)
class KeptLayer:
    """A node that stays float.

    Attributes:
        precision: in which it computes.
        reason: why it stays float, or float32.
    """

    precision: FloatPrecision
    reason: str


def name_of(node: NodeProto) -> str:
    """By which a reader finds a node in the model: its name, or its first output where it has none."""
    return node.name or next(filter(None, node.output))
