"""Simplification with onnxsim; its proof is the pipeline's, like every other stage's."""

from __future__ import annotations

import onnx
import onnxsim

from ...calibration.artifact import OnnxArtifact
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
    return artifact.derive(model, "simplify", artifact.precision)
