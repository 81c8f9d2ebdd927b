"""From a model and a request to a session whose every node is known to run where it was asked for."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .cache import engine_folder
from .engine_cache import EngineCache, EngineKey
from .errors import InputError, ModelError, PlacementError, gist
from .files import publish_file, sha256_bytes
from .gpu import Driver, read_driver
from .jetson import is_jetson, jetpack_version
from .libraries import broken_libraries, cuda_version, remedy, tensorrt_version
from .placement import RECORD, Placement, keeps_record, nodes_from_profile, nodes_from_record, require
from .processor import has_vnni
from .providers import AUTO, EXECUTION_PROVIDERS, ProviderRequest, Shape, TensorrtSite, provider_list

DTYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}
# It quantizes biases that the model keeps float, and makes nonsense of float16 beside Q/DQ pairs.
HARMFUL_OPTIMIZERS = ("WeightBiasQuantization",)
NEXT = {"tensorrt": ("tensorrt", "cuda", "cpu"), "cuda": ("cuda", "cpu"), "cpu": ("cpu",)}
# Options that do not change what is compiled: places, which of several equal GPUs, and how it is launched.
KEYLESS = ("trt_engine_cache_path", "trt_timing_cache_path", "device_id", "trt_cuda_graph_enable")
EXACT_SUMS = "session.x64quantprecision"
TF32_OVERRIDE = "NVIDIA_TF32_OVERRIDE"  # read by cuBLAS, cuDNN and TensorRT; 0 forbids TF32


@dataclass(frozen=True)
class Input:
    """A model's one input: its name, shape (an axis that may vary is not an int) and numpy dtype."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Engine:
    """A compiled engine: the folder that keeps it, and whether it had to be compiled just now."""

    folder: Path
    built: bool


@dataclass(frozen=True)
class Opened:
    """A session, where its nodes run, and its engine where it has one."""

    session: Any
    placement: Placement
    engine: Engine | None = None


def open_session(ort: Any, model: bytes, request: ProviderRequest, *, optimize: bool = True) -> Opened:
    """Open a model on the provider that was asked for, and prove that it runs there.

    `auto` takes the first of TensorRT, CUDA and the CPU that takes every node.

    Args:
        ort: the onnxruntime module.
        model: the serialized ONNX model.
        request: where and how to run it.
        optimize: whether ONNX Runtime may rewrite the graph.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
        PlacementError: the provider cannot be used, or leaves nodes to another.
        OutputError: an engine must be compiled and cannot be kept.
    """
    if request.provider == "cpu":
        session = accept(ort, model, session_options(ort, request, "cpu", optimize))
        return Opened(session, Placement("cpu", "cpu", {}))
    free = request.allow_fallback or request.provider == AUTO
    chain = NEXT["tensorrt" if request.provider == AUTO else request.provider]
    refused: list[str] = []
    for provider in chain:
        try:
            attempt = _Attempt(ort, model, request, provider, optimize)
            return attempt.open(tuple(refused))
        except PlacementError as error:
            if not free:
                raise
            refused.append(f"{provider}: {error.message} {error.details['got']}".strip())
    raise AssertionError("the CPU takes every node")


def accept(ort: Any, model: bytes, options: Any) -> Any:
    """A session on the CPU.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
    """
    try:
        return _create(ort, model, options, [EXECUTION_PROVIDERS["cpu"]])
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise ModelError(f"ONNX Runtime {ort.__version__} does not accept the model: {error}") from error


def _create(ort: Any, model: bytes, options: Any, providers: Any) -> Any:
    return ort.InferenceSession(
        model, options, providers=providers, enable_fallback=0, disabled_optimizers=list(HARMFUL_OPTIMIZERS)
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
    if provider != "cpu" and request.precision == "int8":
        # ONNX Runtime would rewrite Q/DQ for its CPU kernels, with int32 biases that TensorRT refuses.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


def sole_input(session: Any) -> Input:
    """The model's input.

    Raises:
        ModelError: it has none, or several.
    """
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise ModelError(
            "The model must have exactly one input.", got=", ".join(i.name for i in inputs) or "none"
        )
    (found,) = inputs
    return Input(found.name, tuple(found.shape), DTYPES.get(found.type, found.type))


def ensure_usable(ort: Any, provider: str, device: int = 0) -> Driver:
    """Check what a GPU provider needs before ONNX Runtime is asked for it.

    Raises:
        PlacementError: this build has no such provider, a library is missing or broken, or there is no GPU.
        InputError: there are GPUs, but not that one.
    """
    jetson = is_jetson()
    if EXECUTION_PROVIDERS[provider] not in ort.get_available_providers():
        raise PlacementError(
            f"This ONNX Runtime {ort.__version__} is built without {provider}.",
            wanted=EXECUTION_PROVIDERS[provider],
            got=", ".join(ort.get_available_providers()),
            todo="install the onnxruntime-gpu wheel of your JetPack   (edgeproof doctor)"
            if jetson
            else 'pip uninstall onnxruntime && pip install "edgeproof[gpu]"   (edgeproof doctor)',
        )
    broken = broken_libraries(ort, provider)
    if broken:
        remedies = dict.fromkeys(remedy(library.name, jetson=jetson) for library in broken)
        raise PlacementError(
            f"The provider {provider} lacks libraries.",
            wanted=", ".join(library.name for library in broken),
            got="; ".join(library.reason for library in broken),
            todo="\n".join([*remedies, "edgeproof doctor   (shows all that is missing)"]),
        )
    driver = read_driver()
    if driver.problem:
        raise PlacementError(
            f"The provider {provider} finds no GPU.", got=driver.problem, todo="edgeproof doctor"
        )
    if device >= len(driver.gpus):
        raise InputError(
            f"There is no GPU {device}.",
            available=", ".join(f"{i} ({gpu.name})" for i, gpu in enumerate(driver.gpus)),
        )
    return driver


def export_context(ort: Any, model: bytes, request: ProviderRequest, target: Path) -> None:
    """Write one ONNX file that holds the model as TensorRT's engine, for exactly this machine.

    Raises:
        PlacementError: TensorRT cannot be used, or gave no such file.
        OutputError: the place cannot be written.
    """
    attempt = _Attempt(ort, model, request, "tensorrt", optimize=True)
    with publish_file(target) as draft, tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "context.onnx"  # which ONNX Runtime wants not to be there before
        attempt.create(attempt.site(Path(folder), context=written))
        if not written.exists():
            raise PlacementError(
                f"ONNX Runtime {ort.__version__} wrote no context model.", todo="build without --context"
            )
        shutil.copyfile(written, draft)


class _Attempt:
    """Opening a model on one provider, checked for what it needs.

    Raises:
        PlacementError, InputError: as `ensure_usable`.
        ModelError: the model is not accepted on the CPU either.
    """

    def __init__(
        self, ort: Any, model: bytes, request: ProviderRequest, provider: str, optimize: bool
    ) -> None:
        self.ort, self.model, self.request = ort, model, request
        self.provider, self.optimize = provider, optimize
        self.driver = ensure_usable(ort, provider, request.device) if provider != "cpu" else None
        # Told apart here: a model that is at fault, from a provider that is.
        options = session_options(ort, request, "cpu", optimize=False)
        self.input = sole_input(accept(ort, model, options))

    def open(self, refused: tuple[str, ...]) -> Opened:
        if self.provider != "tensorrt":
            return self._proven(None, refused)
        built: list[Path] = []

        def build(folder: Path) -> None:
            built.append(folder)
            self.create(self.site(folder))

        with EngineCache(engine_folder()).engine(self._key(), build) as folder:
            opened = self._proven(self.site(folder), refused)
        return Opened(opened.session, opened.placement, Engine(folder, bool(built)))

    def site(self, engines: Path, context: Path | None = None) -> TensorrtSite:
        major = self._tensorrt_version()[0]
        return TensorrtSite(major, self.input.name, self.input.shape, engines, context)

    def create(self, site: TensorrtSite | None, **settings: Any) -> Any:
        """A session on the provider; `settings` become attributes of its options."""
        options = session_options(self.ort, self.request, self.provider, self.optimize)
        for name, value in settings.items():
            setattr(options, name, value)
        if keeps_record(self.ort):
            options.add_session_config_entry(RECORD, "1")
        providers = provider_list(self.provider, self.request, site)
        try:
            with _tf32(allowed=not (self.request.exact and self.provider == "tensorrt")):
                return _create(self.ort, self.model, options, providers)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise PlacementError(
                f"The provider {self.provider} cannot run this model here.",
                got=gist(error),
                todo="edgeproof doctor",
            ) from error

    def _proven(self, site: TensorrtSite | None, refused: tuple[str, ...]) -> Opened:
        wanted, provider = self.request.provider, self.provider
        if provider == "cpu":
            return Opened(self.create(None), Placement(wanted, provider, {}, refused))
        session = self.create(site)
        nodes = nodes_from_record(session) if keeps_record(self.ort) else self._profiled(site)
        placement = Placement(wanted, provider, nodes, refused)
        if not self.request.allow_fallback or not nodes.get(provider):
            require(placement)
        return Opened(session, placement)

    def _profiled(self, site: TensorrtSite | None) -> dict[str, tuple[str, ...]]:
        """Nodes by provider from one inference in a session of its own, which leaves no trace in ours."""
        with tempfile.TemporaryDirectory() as folder:
            prefix = str(Path(folder) / "profile")
            session = self.create(site, enable_profiling=True, profile_file_prefix=prefix)
            sides = [side if isinstance(side, int) else 1 for side in self.input.shape]
            if not isinstance(self.input.shape[0], int):
                sides[0] = self.request.batches.usual
            session.run(None, {self.input.name: np.zeros(sides, self.input.dtype)})
            return nodes_from_profile(Path(session.end_profiling()))

    def _tensorrt_version(self) -> tuple[int, int, int]:
        version = tensorrt_version(self.ort)
        if version is None:
            raise PlacementError("TensorRT does not tell its version.", todo="edgeproof doctor")
        return version

    def _key(self) -> EngineKey:
        (_, options), *_ = provider_list("tensorrt", self.request, self.site(Path()))
        gpu = self.driver.gpus[self.request.device] if self.driver else None
        return EngineKey(
            model=sha256_bytes(self.model),
            options=(
                ("precision", self.request.precision),
                ("exact", str(self.request.exact)),
                ("optimize", str(self.optimize)),
                *((name, value) for name, value in sorted(options.items()) if name not in KEYLESS),
            ),
            onnxruntime=self.ort.__version__,
            tensorrt=".".join(map(str, self._tensorrt_version())),
            cuda=cuda_version(self.ort),
            driver=f"{self.driver.version} ({self.driver.cuda})" if self.driver else "",
            gpu=f"{gpu.name} {gpu.capability}" if gpu else "",
            jetpack=jetpack_version(),
        )


@contextmanager
def _tf32(*, allowed: bool) -> Iterator[None]:
    """Forbid TF32 while a session is created: TensorRT's provider has no option for it."""
    before = os.environ.get(TF32_OVERRIDE)
    if not allowed:
        os.environ[TF32_OVERRIDE] = "0"
    try:
        yield
    finally:
        if not allowed and before is None:
            del os.environ[TF32_OVERRIDE]
        elif before is not None:
            os.environ[TF32_OVERRIDE] = before
