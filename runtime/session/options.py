"""Creating ONNX Runtime's own sessions: their options, and what its optimizers may not do to a graph."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from ..device.cpu import has_vnni
from ..errors import ModelError
from ..providers.request import EXECUTION_PROVIDERS, Options, ProviderRequest

# The first quantizes biases that the model keeps float, and makes nonsense of float16 beside Q/DQ pairs. The
# second puts pairs behind other nodes: TensorRT is to see those that were proven, and no others.
DISABLED_OPTIMIZERS = {
    "tensorrt": ("WeightBiasQuantization", "QDQPropagationTransformer"),
    "cuda": ("WeightBiasQuantization",),
    "cpu": ("WeightBiasQuantization",),
}
EXACT_SUMS = "session.x64quantprecision"
# Folds the DequantizeLinear of weights before a provider sees the graph, and writes no int32 biases into it.
FOLD_WEIGHTS = "session.disable_quant_qdq"


def accept(ort: Any, model: bytes, options: Any, *, made_for: str = "cpu") -> Any:
    """A session on the CPU, of the graph as it is rewritten for tensorrt, cuda or cpu.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    try:
        return create_session(ort, model, options, [(EXECUTION_PROVIDERS["cpu"], {})], made_for)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(f"ONNX Runtime {ort.__version__} does not accept the model: {error}") from error


def handed_over(ort: Any, model: bytes) -> bytes:
    """The graph that TensorRT would be handed: after what ONNX Runtime rewrites before it asks any provider.

    That is its basic level, carried out here for the CPU, which needs no GPU. What only TensorRT would take
    whole (HardSwish, say) comes out as its parts.

    Args:
        ort: the onnxruntime module.
        model: the serialized ONNX model.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    options = session_options(ort, ProviderRequest("tensorrt"), "tensorrt")
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "handed_over.onnx"
        options.optimized_model_filepath = str(file)
        accept(ort, model, options, made_for="tensorrt")
        return file.read_bytes()


def create_session(
    ort: Any, model: bytes, options: Any, providers: list[tuple[str, Options]], made_for: str
) -> Any:
    """A session on these providers, of the graph as it is rewritten for tensorrt, cuda or cpu.

    What goes wrong is raised as ONNX Runtime raises it: its exceptions share no base class.
    """
    return ort.InferenceSession(
        model,
        options,
        providers=providers,
        enable_fallback=0,
        disabled_optimizers=list(DISABLED_OPTIMIZERS[made_for]),
    )


def session_options(ort: Any, request: ProviderRequest, provider: str, optimize: bool = True) -> Any:
    """Options of a session on tensorrt, cuda or cpu."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # A model given as bytes may still name files for its weights, which no hash of ours covers.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if request.threads:
        options.intra_op_num_threads = request.threads
    if provider == "cpu" and not has_vnni():
        # There x86 kernels sum two products of uint8 and int8 in 16 bits, which saturate. With VNNI sums are
        # exact, and this would only cost time: 1.8 times as long in ONNX Runtime 1.31. Off x86 it is void.
        options.add_session_config_entry(EXACT_SUMS, "1")
    if provider == "cuda" and request.precision == "int8":
        # CUDA computes Q/DQ pairs one by one: there float weights are better. TensorRT must see every pair.
        options.add_session_config_entry(FOLD_WEIGHTS, "1")
    return options
