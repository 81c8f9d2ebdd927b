"""What was asked of the device, as the exact options of ONNX Runtime's execution providers.

Precision lives in the graph alone. ONNX Runtime builds a strongly typed TensorRT network where no precision
flag is set; with a flag, TensorRT 10 may run in float16 what the graph keeps in float32. The DLA is the
exception: ONNX Runtime reads its options only beside a flag.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..bundle.manifest import PRECISIONS
from ..errors import InputError, ModelError

EXECUTION_PROVIDERS: Mapping[str, str] = {
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
AUTO = "auto"
CHOICES = (*EXECUTION_PROVIDERS, AUTO)
# Until `make gpu-test` has measured them on a GPU: an exhaustive search costs seconds at each new shape.
CUDA_CHOICES: Mapping[str, str] = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "prefer_nhwc": "0",
    "arena_extend_strategy": "kNextPowerOfTwo",
}

Shape = tuple[int | str | None, ...]
Options = dict[str, str]


@dataclass(frozen=True)
class Batches:
    """Sizes of a batch for which an engine is compiled: all between the ends, fastest at the usual one.

    Raises:
        InputError: they are not positive and in order.
    """

    smallest: int = 1
    usual: int = 1
    largest: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.usual <= self.largest:
            raise InputError(
                f"The batches {self.smallest}, {self.usual}, {self.largest} are not in order.",
                wanted="1 <= smallest <= usual <= largest",
            )


@dataclass(frozen=True)
class ProviderRequest:
    """Where a model is to run, and how.

    Attributes:
        provider: tensorrt, cuda, cpu, or auto for the first of these that takes every node.
        precision: fp32, fp16 or int8: what the graph was made for; None for what suits the provider, where a
            bundle has several (`selection.usual_precision`).
        batches: the batches to expect; TensorRT refuses others.
        device: index of the GPU.
        allow_fallback: whether nodes, or the whole model, may run elsewhere.
        cuda_graph: whether to replay the launches as one; the batch is then always `batches.usual`.
        exact: whether float32 must be multiplied as float32 and not as TF32.
        dla_core: deep learning accelerator of a Jetson to use; None for the GPU.
        workspace: most bytes that TensorRT may use while it compiles; None for its own choice.
        threads: CPU threads that compute one inference; None for one a core.
        streams: inferences that a `Runner` has under way at once; None for as many as the CPU has cores for
            them, and one on a GPU.

    Raises:
        InputError: a name is unknown, or two wishes exclude each other.
    """

    provider: str = "cpu"
    precision: str | None = None
    batches: Batches = Batches()
    device: int = 0
    allow_fallback: bool = False
    cuda_graph: bool = False
    exact: bool = False
    dla_core: int | None = None
    workspace: int | None = None
    threads: int | None = None
    streams: int | None = None

    def __post_init__(self) -> None:
        _among("provider", self.provider, CHOICES)
        if self.precision is not None:
            _among("precision", self.precision, PRECISIONS)
        for name, least in (("device", 0), ("dla_core", 0), ("workspace", 1), ("threads", 1), ("streams", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{name} is {value}.", wanted=f"{least} or more")
        if self.cuda_graph and self.provider == "cpu":
            raise InputError("The CPU has no CUDA graph.", available="--provider cuda or tensorrt")
        if self.cuda_graph and self.batches.smallest != self.batches.largest:
            raise InputError(
                "A CUDA graph is recorded for one batch size.",
                got=f"batches from {self.batches.smallest} to {self.batches.largest}",
            )
        if self.cuda_graph and (self.streams or 1) > 1:
            raise InputError(
                "A CUDA graph is replayed by one stream.",
                got=f"a request for {self.streams}",
                todo="leave out --streams or --cuda-graph",
            )
        if self.dla_core is not None and self.provider != "tensorrt":
            raise InputError("Only TensorRT reaches the DLA.", todo="add --provider tensorrt")


@dataclass(frozen=True)
class TensorrtSite:
    """What TensorRT's options need to know of the model, and the places of files.

    Attributes:
        input_name, input_shape: of the model; a batch that may vary is not an int.
        engines: folder in which compiled engines and timings are kept.
        context: file that is to hold the model with its compiled engine; None for no such file.
    """

    input_name: str
    input_shape: Shape
    engines: Path
    context: Path | None = None


def cuda_options(request: ProviderRequest) -> Options:
    """Options of the CUDA provider."""
    options = {"device_id": str(request.device), **CUDA_CHOICES}
    if request.exact:
        options["use_tf32"] = "0"
    if request.cuda_graph:
        options["enable_cuda_graph"] = "1"
    return options


def tensorrt_options(request: ProviderRequest, site: TensorrtSite) -> Options:
    """Options of the TensorRT provider.

    Raises:
        ModelError: an axis of the input other than the batch may vary.
    """
    options = {
        "device_id": str(request.device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(site.engines),
        "trt_engine_cache_prefix": "engine",
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(site.engines),
    }
    options.update(_profile(request.batches, site))
    if request.cuda_graph:
        options["trt_cuda_graph_enable"] = "1"
    if request.dla_core is not None:
        options.update(trt_fp16_enable="1", trt_dla_enable="1", trt_dla_core=str(request.dla_core))
    if request.workspace is not None:
        options["trt_max_workspace_size"] = str(request.workspace)
    if site.context:
        options.update(
            trt_dump_ep_context_model="1",
            trt_ep_context_file_path=str(site.context),
            trt_ep_context_embed_mode="1",
        )
    return options


def provider_list(
    provider: str, request: ProviderRequest, site: TensorrtSite | None = None
) -> list[tuple[str, Options]]:
    """Execution providers, in order of preference, with their options, as ONNX Runtime takes them.

    Behind TensorRT stands CUDA only where nodes may run elsewhere: its libraries cost memory that a device
    may not have. ONNX Runtime itself adds the CPU at the end.

    Args:
        provider: tensorrt, cuda or cpu.
        request: what was asked for.
        site: needed for tensorrt only.
    """
    chosen: list[tuple[str, Options]] = []
    if provider == "tensorrt" and site:
        chosen.append((EXECUTION_PROVIDERS["tensorrt"], tensorrt_options(request, site)))
    if provider == "cuda" or (provider == "tensorrt" and request.allow_fallback):
        chosen.append((EXECUTION_PROVIDERS["cuda"], cuda_options(request)))
    return chosen or [(EXECUTION_PROVIDERS["cpu"], {})]


def _profile(batches: Batches, site: TensorrtSite) -> Options:
    batch, *rest = site.input_shape or (None,)
    if not all(isinstance(side, int) for side in rest):
        raise ModelError(
            "TensorRT compiles for one size of picture.",
            wanted="an input of which only the batch may vary",
            got=f"({', '.join(map(str, site.input_shape))})",
        )
    if isinstance(batch, int):
        return {}
    sizes = {"min": batches.smallest, "opt": batches.usual, "max": batches.largest}
    sides = "x".join(map(str, rest))
    return {f"trt_profile_{end}_shapes": f"{site.input_name}:{n}x{sides}" for end, n in sizes.items()}


def _among(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"There is no {what} {value!r}.", available=", ".join(choices))
