"""Simplification with onnxsim; its proof is the pipeline's, like every other stage's."""

from __future__ import annotations

import onnx
import onnxsim

from ...calibration.artifact import OnnxArtifact
from ...calibration.onnx_graph.graph import NAME_SCOPES, makers
from ...runtime.errors import ProofError

METADATA_PREFIX = "onnxsim."


def simplify(artifact: OnnxArtifact) -> OnnxArtifact:
    """Fold constants and remove what does nothing.

    Raises:
        ProofError: onnxsim fails, or what it gives is not valid ONNX.
    """
    try:
        model, _ = onnxsim.simplify(artifact.model, check_n=0)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # onnxsim raises plain RuntimeError and its own C++ errors
        raise ProofError(f"onnxsim failed on the model: {error}") from error
    kept = [entry for entry in model.metadata_props if not entry.key.startswith(METADATA_PREFIX)]
    copies = [onnx.StringStringEntryProto.FromString(entry.SerializeToString()) for entry in kept]
    model.ClearField("metadata_props")
    model.metadata_props.extend(copies)
    _name_modules(model, artifact.model)
    return artifact.derive(model, "simplify", artifact.precision)


def _name_modules(model: onnx.ModelProto, original: onnx.ModelProto) -> None:
    """Note the PyTorch module of each node that still makes a value of the original; onnxsim drops it."""
    modules = {
        value: entry.value
        for value, node in makers(original).items()
        for entry in node.metadata_props
        if entry.key == NAME_SCOPES
    }
    for node in model.graph.node:
        scopes = next((modules[name] for name in node.output if name in modules), None)
        if scopes is not None and not node.metadata_props:
            node.metadata_props.add(key=NAME_SCOPES, value=scopes)
