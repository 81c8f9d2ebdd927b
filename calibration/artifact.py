"""An ONNX model together with where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import onnx

from ..runtime.bundle.manifest import Precision
from ..runtime.files import sha256_bytes


@dataclass(frozen=True)
class OnnxArtifact:
    """One form of the model in the lineage; never changed in place.

    Attributes:
        model: the ONNX model.
        stage: the stage that made it ("export", "simplify", "fp16", "int8").
        precision: the precision that it computes in.
        parent: SHA-256 of the ONNX model from which it was made; None for the first.
    """

    model: onnx.ModelProto
    stage: str
    precision: Precision = "fp32"
    parent: str | None = None

    @cached_property
    def data(self) -> bytes:
        """The serialized model: what is hashed, run and shipped."""
        return self.model.SerializeToString(deterministic=True)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of `data`."""
        return sha256_bytes(self.data)

    @property
    def nodes(self) -> int:
        """Number of nodes of the graph."""
        return len(self.model.graph.node)

    def derive(self, model: onnx.ModelProto, stage: str, precision: Precision) -> OnnxArtifact:
        """The artifact that a stage makes from this one."""
        return OnnxArtifact(model, stage, precision, parent=self.sha256)
