"""From a model and a request to a session whose every node is known to run where it was requested."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..cache import engine_folder
from ..device.gpu import Driver
from ..device.jetson import clock_state, jetpack_version, power_mode
from ..device.libraries import cuda_version
from ..errors import ModelError, PlacementError
from ..files import publish_file, sha256_bytes
from ..providers.base import EngineContext, ExecutionProvider, Shape
from ..providers.cpu import CPU
from ..providers.placement import (
    RECORD_ENTRY,
    Placement,
    keeps_record,
    nodes_from_profile,
    nodes_from_record,
    require_complete,
)
from ..providers.registry import AUTO, PROVIDERS, candidates
from ..providers.request import ProviderRequest
from .device_gate import GATE
from .engine_cache import EngineCache, EngineKey
from .options import create_cpu_session, create_session, session_options

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

ModelFor = Callable[[str], tuple[bytes, str]]
"""From a provider's name to the serialized model for it, and that model's precision."""


@dataclass(frozen=True)
class ModelInput:
    """A model's one input: its name, shape (an axis of any length is not an int) and numpy dtype."""

    name: str
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Engine:
    """A compiled engine: the folder that keeps it, and whether it had to be compiled just now."""

    folder: Path
    built: bool


@dataclass(frozen=True)
class OpenedSession:
    """A session, where its nodes run, and its engine where it has one.

    Attributes:
        session: ONNX Runtime's own.
        input: the model's one input.
        request: as it was carried out: with the precision of the model that was opened.
        placement: where its nodes run.
        engine: the compiled engine; None with providers that compile nothing.
    """

    session: Any
    input: ModelInput
    request: ProviderRequest
    placement: Placement
    engine: Engine | None = None


def same_model(model: bytes, request: ProviderRequest) -> ModelFor:
    """One model for every provider; float32 where the request does not say what it is."""
    return lambda provider: (model, request.precision or "fp32")


def open_first(
    ort: Any, model_for: ModelFor, request: ProviderRequest, *, optimize: bool = True
) -> OpenedSession:
    """Open a model on the requested provider, and prove that it runs there.

    `auto` takes the first provider that takes every node: the provider is chosen first, and then the model
    that suits it.

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
    may_go_on = request.allow_fallback or request.provider == AUTO
    refused: list[str] = []
    *others, last = candidates(request.provider)
    for provider in (*others, last):
        try:
            driver = provider.require_usable(ort, request.device)  # before the model is read: it may be large
            model, precision = model_for(provider.name)
            chosen = replace(request, precision=precision)
            return SessionBuilder(ort, model, chosen, provider, driver, optimize).open(tuple(refused))
        except PlacementError as error:
            if not may_go_on or provider is last:
                raise
            refused.append(f"{provider.name}: {error.message} {error.details['got']}".strip())
    raise AssertionError("the last provider is returned or raises")


def export_context(ort: Any, model: bytes, request: ProviderRequest, target: Path) -> None:
    """Write one ONNX file that holds the model as its compiled engine, for exactly this machine.

    Raises:
        PlacementError: the provider cannot be used, or gave no such file.
        OutputError: the place cannot be written.
    """
    provider = PROVIDERS[request.provider]
    driver = provider.require_usable(ort, request.device)
    builder = SessionBuilder(ort, model, request, provider, driver, optimize=True)
    with publish_file(target) as draft, tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "context.onnx"  # which ONNX Runtime wants not to be there before
        builder.create(request, builder.context(Path(folder), written))
        if not written.exists():
            raise PlacementError(
                f"ONNX Runtime {ort.__version__} wrote no context model.", todo="build without --context"
            )
        shutil.copyfile(written, draft)


class SessionBuilder:
    """Opens one model on one provider that can be used.

    Raises:
        PlacementError, InputError: the provider is known to refuse the model, or the request.
        ModelError: the model is not accepted on the CPU either.
    """

    def __init__(
        self,
        ort: Any,
        model: bytes,
        request: ProviderRequest,
        provider: ExecutionProvider,
        driver: Driver | None,
        optimize: bool,
    ) -> None:
        self._ort, self._model, self._request = ort, model, request
        self._provider, self._driver, self._optimize = provider, driver, optimize
        provider.require_model(ort, request, driver)
        # On the CPU first: it tells a model that is at fault from a provider that is.
        options = session_options(ort, request, CPU, optimize and provider.takes_every_node)
        session = create_cpu_session(ort, model, options)
        self.input: ModelInput = _sole_input(session)
        self._cpu_session = session if provider.takes_every_node else None

    def open(self, refused: tuple[str, ...]) -> OpenedSession:
        """A session whose placement is proven; `refused` says why no provider before it was taken."""
        wanted, provider = self._request.provider, self._provider
        if self._cpu_session is not None:
            placement = Placement(wanted, provider.name, {}, refused)
            return OpenedSession(self._cpu_session, self.input, self._request, placement)
        if not provider.compiles:
            return self._proven(self.context(), refused)
        built: list[Path] = []

        def build(folder: Path) -> None:
            built.append(folder)
            self.create(self._request, self.context(folder))

        with EngineCache(engine_folder()).engine(self._key(), build) as folder:
            opened = self._proven(self.context(folder), refused)
            placement = provider.inspect_engine(opened.placement, self._request, folder)
        return replace(opened, placement=placement, engine=Engine(folder, bool(built)))

    def context(self, engines: Path = Path(), context_file: Path | None = None) -> EngineContext:
        """What the provider's options need to know of the model, and where engines are kept."""
        return EngineContext(self.input.name, self.input.shape, engines, context_file)

    def create(self, request: ProviderRequest, context: EngineContext, **settings: Any) -> Any:
        """A session of ONNX Runtime on the provider; `settings` become attributes of its options."""
        options = session_options(self._ort, request, self._provider, self._optimize)
        for name, value in settings.items():
            setattr(options, name, value)
        if keeps_record(self._ort):
            options.add_session_config_entry(RECORD_ENTRY, "1")
        providers = self._provider.provider_list(request, context)
        try:
            with GATE.exclusive():
                return create_session(self._ort, self._model, options, providers, self._provider)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise self._provider.failure(error) from error

    def _proven(self, context: EngineContext, refused: tuple[str, ...]) -> OpenedSession:
        name = self._provider.name
        session = self.create(self._request, context)
        nodes = nodes_from_record(session) if keeps_record(self._ort) else self._profiled(context)
        placement = Placement(self._request.provider, name, nodes, refused)
        if not self._request.allow_fallback or not nodes.get(name):
            require_complete(placement)
        return OpenedSession(session, self.input, self._request, placement)

    def _profiled(self, context: EngineContext) -> dict[str, tuple[str, ...]]:
        """Nodes by provider, from one inference in a session of its own, which leaves no trace in ours.

        It records no CUDA graph: while one is recorded, ONNX Runtime 1.23 can neither profile nor take
        numpy's arrays.
        """
        engine = self._request.engine
        plain = replace(self._request, engine=replace(engine, cuda_graph=False))
        with tempfile.TemporaryDirectory() as folder, GATE.exclusive():
            prefix = str(Path(folder) / "profile")
            session = self.create(plain, context, enable_profiling=True, profile_file_prefix=prefix)
            sides = [side if isinstance(side, int) else 1 for side in self.input.shape]
            if not isinstance(self.input.shape[0], int):
                sides[0] = engine.batches.usual
            session.run(None, {self.input.name: np.zeros(sides, self.input.dtype)})
            return nodes_from_profile(Path(session.end_profiling()))

    def _key(self) -> EngineKey:
        driver, mode = self._driver, power_mode()
        gpu = driver.gpus[self._request.device] if driver else None
        options = self._provider.engine_key(self._request, self.context())
        return EngineKey(
            model=sha256_bytes(self._model),
            options=(("optimize", str(self._optimize)), *options.items()),
            onnxruntime=self._ort.__version__,
            tensorrt=self._provider.compiler_version(self._ort),
            cuda=cuda_version(self._ort),
            driver=f"{driver.version} ({driver.cuda})" if driver else "",
            gpu=f"{gpu.name} {gpu.capability}" if gpu else "",
            jetpack=jetpack_version(),
            power_mode=f"{mode.index} {mode.name}" if mode else "",
            clocks=clock_state(),
        )


def _sole_input(session: Any) -> ModelInput:
    inputs = session.get_inputs()
    try:  # ONNX Runtime decodes names, of sides too, when they are asked for
        _ = [(value.name, value.shape) for value in (*inputs, *session.get_outputs())]
    except UnicodeDecodeError as error:
        raise ModelError("The model's inputs or outputs have names that are no text.") from error
    if len(inputs) != 1:
        raise ModelError(
            "The model must have exactly one input.", got=", ".join(i.name for i in inputs) or "none"
        )
    (found,) = inputs
    return ModelInput(found.name, tuple(found.shape), DTYPES.get(found.type, found.type))
