"""Creating ONNX Runtime's own sessions: their options, and which of its graph optimizers may not run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ..errors import ModelError
from ..providers.base import ExecutionProvider, Options
from ..providers.cpu import CPU
from ..providers.request import ProviderRequest
from ..providers.tensorrt import TENSORRT


def session_options(
    ort: Any, request: ProviderRequest, provider: ExecutionProvider, optimize: bool = True
) -> Any:
    """Options of a session on a provider."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # A model given as bytes may still name files for its weights, which no hash of ours covers.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if request.threads:
        options.intra_op_num_threads = request.threads
    for name, value in provider.session_entries(request.precision).items():
        options.add_session_config_entry(name, value)
    return options


def create_session(
    ort: Any,
    model: bytes,
    options: Any,
    providers: list[tuple[str, Options]],
    rewritten_for: ExecutionProvider,
) -> Any:
    """A session on these providers, of the graph as ONNX Runtime rewrites it for one of them.

    What goes wrong is raised as ONNX Runtime raises it: its exceptions share no base class.
    """
    return ort.InferenceSession(
        model,
        options,
        providers=providers,
        enable_fallback=0,
        disabled_optimizers=list(rewritten_for.disabled_optimizers),
    )


def create_cpu_session(
    ort: Any, model: bytes, options: Any, *, rewritten_for: ExecutionProvider = CPU
) -> Any:
    """A session on the CPU, of the graph as ONNX Runtime rewrites it for a provider.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    try:
        return create_session(ort, model, options, [(CPU.ort_name, {})], rewritten_for)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(f"ONNX Runtime {ort.__version__} does not accept the model: {error}") from error


def handed_over(ort: Any, model: bytes) -> bytes:
    """The graph that TensorRT would receive: after what ONNX Runtime rewrites before it asks any provider.

    ONNX Runtime's basic optimizations are run here for the CPU, which needs no GPU. A function that only
    TensorRT would take whole (HardSwish, say) comes out as its parts.

    Args:
        ort: the onnxruntime module.
        model: the serialized ONNX model.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    options = session_options(ort, ProviderRequest(TENSORRT.name), TENSORRT)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "handed_over.onnx"
        options.optimized_model_filepath = str(file)
        create_cpu_session(ort, model, options, rewritten_for=TENSORRT)
        return file.read_bytes()
