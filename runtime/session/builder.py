"""From a model and a request to a session whose every node is known to run where it was asked for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import engine_folder
from ..device.gpu import Driver, Gpu, read_driver
from ..device.jetson import clock_state, is_jetson, jetpack_version, power_mode
from ..device.libraries import broken_libraries, cuda_version, tensorrt_version
from ..device.remedies import DRIVER, remedy, replace_onnxruntime
from ..errors import InputError, ModelError, PlacementError, gist
from ..files import publish_file, sha256_bytes
from ..providers import dla, tf32
from ..providers.known_faults import refuse_known_fault
from ..providers.placement import (
    RECORD,
    Placement,
    keeps_record,
    nodes_from_profile,
    nodes_from_record,
    require,
)
from ..providers.request import AUTO, EXECUTION_PROVIDERS, ProviderRequest, Shape, TensorrtSite, provider_list
from .device_gate import GATE
from .engine_cache import EngineCache, EngineKey
from .options import accept, create_session, session_options

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
NEXT = {"tensorrt": ("tensorrt", "cuda", "cpu"), "cuda": ("cuda", "cpu"), "cpu": ("cpu",)}
# Options that do not change what is compiled: places, which of several equal GPUs, and how it is launched.
KEYLESS = ("trt_engine_cache_path", "trt_timing_cache_path", "device_id", "trt_cuda_graph_enable")
UNPROFILED = "dynamic shape input"  # in ONNX Runtime's complaint of a TensorRT part whose batch may vary

ModelFor = Callable[[str], tuple[bytes, str]]
"""From a provider's name to the serialized model for it, and that model's precision."""


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
    """A session, where its nodes run, and its engine where it has one.

    Attributes:
        session: ONNX Runtime's own.
        request: as it was carried out: with the precision of the model that was opened.
        placement: where its nodes run.
        engine: TensorRT's compiled engine; None with other providers.
    """

    session: Any
    request: ProviderRequest
    placement: Placement
    engine: Engine | None = None


def single(model: bytes, request: ProviderRequest) -> ModelFor:
    """The same model for every provider; float32 where the request does not say what it is."""
    return lambda provider: (model, request.precision or "fp32")


def open_first(ort: Any, model_for: ModelFor, request: ProviderRequest, *, optimize: bool = True) -> Opened:
    """Open a model on the provider that was asked for, and prove that it runs there.

    `auto` takes the first of TensorRT, CUDA and the CPU that takes every node: the provider is chosen first,
    and then the model that suits it.

    Args:
        ort: the onnxruntime module.
        model_for: gives the model for a provider.
        request: where and how to run it.
        optimize: whether ONNX Runtime may rewrite the graph.

    Raises:
        ModelError: ONNX Runtime does not accept the model.
        PlacementError: the provider cannot be used, or leaves nodes to another.
        OutputError: an engine must be compiled and cannot be kept.
    """
    free = request.allow_fallback or request.provider == AUTO
    chain = NEXT["tensorrt" if request.provider == AUTO else request.provider]
    refused: list[str] = []
    for provider in chain:
        try:
            # Before the model is read: most machines have no GPU.
            driver = None if provider == "cpu" else ensure_usable(ort, provider, request.device)
            model, precision = model_for(provider)
            chosen = replace(request, precision=precision)
            if driver is None:
                session = accept(ort, model, session_options(ort, chosen, "cpu", optimize))
                return Opened(session, chosen, Placement(request.provider, "cpu", {}, tuple(refused)))
            return _Attempt(ort, model, chosen, provider, driver, optimize).open(tuple(refused))
        except PlacementError as error:
            if not free or provider == chain[-1]:
                raise
            refused.append(f"{provider}: {error.message} {error.details['got']}".strip())
    raise AssertionError("the CPU takes every node")


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
    if EXECUTION_PROVIDERS[provider] not in ort.get_available_providers():
        raise PlacementError(
            f"This ONNX Runtime {ort.__version__} is built without {provider}.",
            wanted=EXECUTION_PROVIDERS[provider],
            got=", ".join(ort.get_available_providers()),
            todo=f"{replace_onnxruntime()}\nedgeproof doctor   (shows all that is missing)",
        )
    driver = read_driver()  # first: without one, loading gigabytes of libraries is of no use
    if driver.problem:
        raise PlacementError(
            "There is no GPU that can be used.",
            wanted=f"one for the provider {provider}",
            got=driver.problem,
            todo=f"{remedy(DRIVER, jetson=is_jetson())}\nedgeproof doctor   (shows all that is missing)",
        )
    broken = broken_libraries(ort, provider)
    if broken:
        remedies = dict.fromkeys(remedy(library.missing, jetson=is_jetson()) for library in broken)
        raise PlacementError(
            f"The provider {provider} lacks libraries.",
            wanted=", ".join(library.name for library in broken),
            got="; ".join(library.reason for library in broken),
            todo="\n".join([*remedies, "edgeproof doctor   (shows all that is missing)"]),
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
    driver = ensure_usable(ort, "tensorrt", request.device)
    attempt = _Attempt(ort, model, request, "tensorrt", driver, optimize=True)
    with publish_file(target) as draft, tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "context.onnx"  # which ONNX Runtime wants not to be there before
        attempt.create(attempt.site(Path(folder), context=written))
        if not written.exists():
            raise PlacementError(
                f"ONNX Runtime {ort.__version__} wrote no context model.", todo="build without --context"
            )
        shutil.copyfile(written, draft)


class _Attempt:
    """Opening a model on one provider of a GPU that can be used.

    Raises:
        PlacementError, InputError: TensorRT is known to refuse the model, or the DLA that is asked for.
        ModelError: the model is not accepted on the CPU either.
    """

    def __init__(
        self,
        ort: Any,
        model: bytes,
        request: ProviderRequest,
        provider: str,
        driver: Driver,
        optimize: bool,
    ) -> None:
        self.ort, self.model, self.request = ort, model, request
        self.provider, self.driver, self.optimize = provider, driver, optimize
        if provider == "tensorrt":
            self._require_compilable()
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
            placement = self._with_dla(opened.placement, folder)
        return replace(opened, placement=placement, engine=Engine(folder, bool(built)))

    def site(self, engines: Path, context: Path | None = None) -> TensorrtSite:
        return TensorrtSite(self.input.name, self.input.shape, engines, context)

    def create(self, site: TensorrtSite | None, **settings: Any) -> Any:
        """A session on the provider; `settings` become attributes of its options."""
        if self.request.exact and self.provider == "tensorrt":
            tf32.require_forbidden()  # its provider has no option for it
        options = session_options(self.ort, self.request, self.provider, self.optimize)
        for name, value in settings.items():
            setattr(options, name, value)
        if keeps_record(self.ort):
            options.add_session_config_entry(RECORD, "1")
        providers = provider_list(self.provider, self.request, site)
        try:
            with GATE.exclusive():
                return create_session(self.ort, self.model, options, providers, self.provider)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if UNPROFILED in str(error):
                raise PlacementError(
                    "TensorRT does not take every node, and a model whose batch may vary cannot be split.",
                    wanted="every node on tensorrt, or a model with a fixed batch",
                    got=gist(error),
                    todo="edgeproof preflight BUNDLE   (names the nodes), or choose --provider cuda",
                ) from error
            raise PlacementError(
                f"The provider {self.provider} cannot run this model here.",
                got=gist(error),
                todo="edgeproof doctor",
            ) from error

    def _require_compilable(self) -> None:
        """Refuse what TensorRT is known to refuse after minutes, or to answer wrongly."""
        gpu, version = self._gpu(), self._tensorrt_version()
        precision = self.request.precision or "fp32"
        refuse_known_fault(version, gpu.capability, precision)
        if self.request.dla_core is not None:
            dla.require_dla(self.request.dla_core, precision, version)

    def _with_dla(self, placement: Placement, engines: Path) -> Placement:
        """The placement with what the engine itself says of the DLA, where that was asked for."""
        if self.request.dla_core is None:
            return placement
        found = dla.inspect_engine(engines)
        if found.on_gpu and not self.request.allow_fallback:
            raise PlacementError(
                f"The DLA does not run {len(found.on_gpu)} of the engine's layers.",
                wanted="every layer on the DLA",
                got=str(found),
                todo="pass --allow-fallback to go on like this, or leave --dla out",
            )
        return replace(placement, dla=str(found))

    def _proven(self, site: TensorrtSite | None, refused: tuple[str, ...]) -> Opened:
        wanted, provider = self.request.provider, self.provider
        session = self.create(site)
        nodes = nodes_from_record(session) if keeps_record(self.ort) else self._profiled(site)
        placement = Placement(wanted, provider, nodes, refused)
        if not self.request.allow_fallback or not nodes.get(provider):
            require(placement)
        return Opened(session, self.request, placement)

    def _profiled(self, site: TensorrtSite | None) -> dict[str, tuple[str, ...]]:
        """Nodes by provider from one inference in a session of its own, which leaves no trace in ours.

        It records no CUDA graph: within a recording ONNX Runtime 1.23 can neither profile nor take numpy's
        arrays.
        """
        plain = copy(self)
        plain.request = replace(self.request, cuda_graph=False)
        with tempfile.TemporaryDirectory() as folder, GATE.exclusive():
            prefix = str(Path(folder) / "profile")
            session = plain.create(site, enable_profiling=True, profile_file_prefix=prefix)
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
        gpu, mode = self._gpu(), power_mode()
        return EngineKey(
            model=sha256_bytes(self.model),
            options=(
                ("tf32", "off" if tf32.is_forbidden() else "on"),
                ("optimize", str(self.optimize)),
                *((name, value) for name, value in sorted(options.items()) if name not in KEYLESS),
            ),
            onnxruntime=self.ort.__version__,
            tensorrt=".".join(map(str, self._tensorrt_version())),
            cuda=cuda_version(self.ort),
            driver=f"{self.driver.version} ({self.driver.cuda})",
            gpu=f"{gpu.name} {gpu.capability}",
            jetpack=jetpack_version(),
            power_mode=f"{mode.index} {mode.name}" if mode else "",
            clocks=clock_state(),
        )

    def _gpu(self) -> Gpu:
        return self.driver.gpus[self.request.device]
