"""Which precision of a bundle runs where: the provider is chosen first, and then the model that suits it."""

from __future__ import annotations

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest
from ..errors import PlacementError, PrecisionError
from ..providers.known_faults import FIRST_ROUNDING, rounds_float16
from ..providers.request import ProviderRequest
from .builder import ModelFor
from .session import load_onnxruntime


def model_for(bundle: Bundle, request: ProviderRequest) -> ModelFor:
    """A function that gives a bundle's model for a provider, as `Session` takes it.

    Args:
        bundle: the bundle.
        request: its precision is taken on every provider; where it names none, `usual_precision` is.

    Returns:
        A function that raises InputError if the bundle does not hold the precision, BundleError if its file
        has changed, PlacementError if the provider refuses such a model, and PrecisionError if it would
        compute it wrongly.
    """

    def choose(provider: str) -> tuple[bytes, str]:
        usual = usual_precision(bundle.manifest, provider, dla=request.dla_core is not None)
        precision = request.precision or usual
        if provider == "tensorrt" and precision == "int8" and bundle.manifest.target == "cpu":
            raise PlacementError(
                "The INT8 model of this bundle was made for the CPU, in a form that TensorRT refuses.",
                wanted="an INT8 model for TensorRT",
                got="target cpu",
                todo="choose --precision fp16, or export again with --target tensorrt",
            )
        if provider == "cpu" and precision == "int8" and bundle.manifest.target == "tensorrt":
            _require_rounding(load_onnxruntime().__version__)
        return bundle.model_bytes(precision), precision

    return choose


def _require_rounding(onnxruntime: str) -> None:
    if not rounds_float16(onnxruntime):
        raise PrecisionError(
            "The CPU provider of this ONNX Runtime truncates float16 where INT8 made for TensorRT rounds it.",
            wanted=f"onnxruntime {'.'.join(map(str, FIRST_ROUNDING))} or later, or another provider",
            got=f"onnxruntime {onnxruntime}",
            todo="choose --provider tensorrt, or --precision fp32",
        )


def usual_precision(manifest: Manifest, provider: str, *, dla: bool = False) -> str:
    """The precision that a bundle runs in where none is asked for.

    TensorRT runs what the verdict ships. CUDA computes Q/DQ pairs one by one, and runs float16 instead. The
    CPU runs float32, for INT8 made for TensorRT is slower there than float; INT8 made for the CPU is run.

    Args:
        manifest: of the bundle.
        provider: tensorrt, cuda or cpu.
        dla: whether a Jetson's DLA is asked for, which takes float16 only.
    """
    ship, for_cpu = manifest.verdict.ship, manifest.target == "cpu"
    half = "fp16" if "fp16" in manifest.models else "fp32"
    if provider == "cpu":
        return "int8" if ship == "int8" and for_cpu else "fp32"
    if provider == "cuda" or dla or (ship == "int8" and for_cpu):
        return half
    return ship


def explain_precision(manifest: Manifest, provider: str, precision: str) -> str:
    """Why the precision is not the one that the verdict ships; empty where it is.

    Args:
        manifest: of the bundle.
        provider: on which it runs: tensorrt, cuda or cpu.
        precision: in which it runs.
    """
    ship = manifest.verdict.ship
    if precision == ship:
        return ""
    made_for = manifest.target or "tensorrt"
    if ship == "int8" and made_for != provider:
        return f"int8 was made for {made_for}; --precision int8 runs it here all the same"
    return f"the verdict is {ship}; --precision {ship} runs it here"
