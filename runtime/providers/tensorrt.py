"""ONNX Runtime's TensorRT provider.

Precision lives in the graph alone. ONNX Runtime builds a strongly typed TensorRT network where no precision
flag is set; with a flag, TensorRT 10 may run in float16 what the graph keeps in float32. The DLA is the
exception: ONNX Runtime reads its options only beside a flag.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.manifest import Manifest
from ..device.gpu import Driver
from ..device.libraries import TENSORRT_PROVIDER, tensorrt_version
from ..errors import ModelError, PlacementError, gist
from . import dla, tf32
from .base import EngineContext, Options
from .cuda import CUDA
from .known_faults import refuse_known_fault
from .nvidia import NvidiaProvider

if TYPE_CHECKING:
    from .placement import Placement
    from .request import ProviderRequest

# Options that do not change what is compiled: places, which of several equal GPUs, and how it is launched.
NOT_IN_KEY = ("trt_engine_cache_path", "trt_timing_cache_path", "device_id", "trt_cuda_graph_enable")
# In ONNX Runtime's error where TensorRT takes only a part of a model whose batch may vary.
PART_WITHOUT_PROFILE = "dynamic shape input"


class TensorrtProvider(NvidiaProvider):
    """TensorRT: it compiles an engine for one GPU, one request and one model."""

    name = "tensorrt"
    ort_name = "TensorrtExecutionProvider"
    library = TENSORRT_PROVIDER
    compiles = True
    has_dla = True
    # The second moves Q/DQ pairs behind other nodes: TensorRT must see the pairs that were proven.
    disabled_optimizers = ("WeightBiasQuantization", "QDQPropagationTransformer")

    def usual_precision(self, manifest: Manifest, *, dla: bool = False) -> str:
        """What the verdict ships; float16 on the DLA, and where INT8 was made for the CPU."""
        ship = manifest.verdict.ship
        if dla or (ship == "int8" and manifest.target == "cpu"):
            return "fp16" if "fp16" in manifest.models else "fp32"
        return ship

    def require_precision(self, manifest: Manifest, precision: str, onnxruntime: str) -> None:
        """Refuse INT8 in the form that was made for the CPU."""
        if precision == "int8" and manifest.target == "cpu":
            raise PlacementError(
                "The INT8 model of this bundle was made for the CPU, in a form that TensorRT refuses.",
                wanted="an INT8 model for TensorRT",
                got="target cpu",
                todo="choose --precision fp16, or export again with --target tensorrt",
            )

    def require_model(self, ort: Any, request: ProviderRequest, driver: Driver | None) -> None:
        """Refuse known faults, a DLA that cannot be used, and exact float32 where TF32 is in use."""
        version, precision = self._version(ort), request.precision or "fp32"
        if driver is not None:
            refuse_known_fault(version, driver.gpus[request.device].capability, precision)
        if request.engine.dla_core is not None:
            dla.require_dla(request.engine.dla_core, precision, version)
        if request.exact:
            tf32.require_forbidden()  # the provider has no option for it

    def options(self, request: ProviderRequest) -> Options:
        """Which GPU, or DLA core, its memory while compiling, and CUDA graphs."""
        engine = request.engine
        options = {"device_id": str(request.device)}
        if engine.cuda_graph:
            options["trt_cuda_graph_enable"] = "1"
        if engine.dla_core is not None:
            options.update(trt_fp16_enable="1", trt_dla_enable="1", trt_dla_core=str(engine.dla_core))
        if engine.workspace is not None:
            options["trt_max_workspace_size"] = str(engine.workspace)
        return options

    def engine_options(self, request: ProviderRequest, context: EngineContext) -> Options:
        """Where engines and timings are kept, and the batches for which it compiles."""
        options = {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(context.engines),
            "trt_engine_cache_prefix": "engine",
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(context.engines),
            **_profile(request, context),
        }
        if context.context_file:
            options.update(
                trt_dump_ep_context_model="1",
                trt_ep_context_file_path=str(context.context_file),
                trt_ep_context_embed_mode="1",
            )
        return options

    def provider_list(self, request: ProviderRequest, context: EngineContext) -> list[tuple[str, Options]]:
        """TensorRT; and CUDA behind it where nodes may run elsewhere.

        Only there: CUDA's libraries cost memory that a device may not have.
        """
        behind = CUDA.provider_list(request, context) if request.allow_fallback else []
        return [*super().provider_list(request, context), *behind]

    def engine_key(self, request: ProviderRequest, context: EngineContext) -> Options:
        """The options but for NOT_IN_KEY, and whether this process may use TF32."""
        options = {**self.options(request), **self.engine_options(request, context)}
        kept = {name: value for name, value in sorted(options.items()) if name not in NOT_IN_KEY}
        return {"tf32": "off" if tf32.is_forbidden() else "on", **kept}

    def compiler_version(self, ort: Any) -> str:
        """Version of TensorRT."""
        return ".".join(map(str, self._version(ort)))

    def fixes_batches(self, request: ProviderRequest) -> bool:
        """Always: an engine is compiled for some batches."""
        return True

    def inspect_engine(self, placement: Placement, request: ProviderRequest, engines: Path) -> Placement:
        """The placement with what the engine itself says of the DLA, where that was requested."""
        if request.engine.dla_core is None:
            return placement
        found = dla.inspect_engine(engines)
        if found.on_gpu and not request.allow_fallback:
            raise PlacementError(
                f"The DLA does not run {len(found.on_gpu)} of the engine's layers.",
                wanted="every layer on the DLA",
                got=str(found),
                todo="pass --allow-fallback to go on like this, or leave --dla out",
            )
        return replace(placement, dla=str(found))

    def failure(self, error: Exception) -> PlacementError:
        """Tell a model of which it takes only a part from one that it cannot run."""
        if PART_WITHOUT_PROFILE not in str(error):
            return super().failure(error)
        return PlacementError(
            "TensorRT does not take every node, and a model whose batch may vary cannot be split.",
            wanted="every node on tensorrt, or a model with a fixed batch",
            got=gist(error),
            todo="edgeproof preflight BUNDLE   (names the nodes), or choose --provider cuda",
        )

    def _version(self, ort: Any) -> tuple[int, int, int]:
        version = tensorrt_version(ort)
        if version is None:
            raise PlacementError("TensorRT does not tell its version.", todo="edgeproof doctor")
        return version


def _profile(request: ProviderRequest, context: EngineContext) -> Options:
    """The optimization profile: for which batches the engine is compiled."""
    batch, *rest = context.input_shape or (None,)
    if not all(isinstance(side, int) for side in rest):
        raise ModelError(
            "TensorRT compiles for one size of picture.",
            wanted="an input of which only the batch may vary",
            got=f"({', '.join(map(str, context.input_shape))})",
        )
    if isinstance(batch, int):
        return {}
    batches = request.engine.batches
    sizes = {"min": batches.smallest, "opt": batches.usual, "max": batches.largest}
    sides = "x".join(map(str, rest))
    return {f"trt_profile_{end}_shapes": f"{context.input_name}:{n}x{sides}" for end, n in sizes.items()}


TENSORRT = TensorrtProvider()
