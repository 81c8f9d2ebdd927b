"""The protocol of an execution provider: everything that the runtime asks of one."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..bundle.manifest import Manifest
from ..device import libraries
from ..device.gpu import Driver
from ..errors import PlacementError, gist

if TYPE_CHECKING:
    from .placement import Placement
    from .request import ProviderRequest

Shape = tuple[int | str | None, ...]
"""A model's declared shape; an axis of any length is a name or None, not an int."""
Options = dict[str, str]


@dataclass(frozen=True)
class EngineContext:
    """What the options of a compiling provider need to know beside the request.

    Attributes:
        input_name, input_shape: of the model's one input.
        engines: folder in which compiled engines and timings are kept.
        context_file: file that is to hold the model with its compiled engine; None for no such file.
    """

    input_name: str
    input_shape: Shape
    engines: Path = Path()
    context_file: Path | None = None


class ExecutionProvider:
    """One of ONNX Runtime's execution providers.

    A new one is a file with a subclass and an instance of it, which `registry.py` lists. What a subclass does
    not override is true of a provider that is part of ONNX Runtime, computes in the process's own memory and
    compiles nothing.

    Attributes:
        name: as users and results spell it.
        ort_name: as ONNX Runtime spells it.
        library: file of its shared library, beside ONNX Runtime's; empty where it has none.
        opened_later: libraries that it opens at their first use, so that its own file does not list them.
        memory: ONNX Runtime's name of the memory that holds inputs and outputs; empty for the process's own.
        takes_every_node: whether it can run any model, so that its placement needs no proof.
        compiles: whether it compiles an engine, which is kept.
        has_cuda_graphs: whether it can replay its launches as a CUDA graph.
        has_dla: whether it reaches a Jetson's deep learning accelerator.
        concurrent_runs: whether one session computes several inferences at once.
        replans_batches: whether a batch of another size makes it plan anew (ONNX Runtime issue 23006).
        uses_tf32: whether it multiplies float32 as TF32, unless told otherwise.
        disabled_optimizers: ONNX Runtime's graph optimizers that must not run before it.
    """

    name: str
    ort_name: str
    library: str = ""
    opened_later: tuple[str, ...] = ()
    memory: str = ""
    takes_every_node: bool = False
    compiles: bool = False
    has_cuda_graphs: bool = False
    has_dla: bool = False
    concurrent_runs: bool = False
    replans_batches: bool = False
    uses_tf32: bool = False
    # It quantizes biases that the model keeps float, and gives wrong values of float16 beside Q/DQ pairs.
    disabled_optimizers: tuple[str, ...] = ("WeightBiasQuantization",)

    def usual_precision(self, manifest: Manifest, *, dla: bool = False) -> str:
        """The precision in which it runs a bundle where none is requested.

        Args:
            manifest: of the bundle.
            dla: whether a Jetson's DLA is requested.
        """
        return "fp32"

    def require_precision(self, manifest: Manifest, precision: str, onnxruntime: str) -> None:
        """Refuse a model of a bundle that it cannot run, or would compute wrongly.

        Args:
            manifest: of the bundle.
            precision: of the model.
            onnxruntime: version of ONNX Runtime.

        Raises:
            PlacementError: it cannot run it; PrecisionError: it would compute it wrongly.
        """

    def require_usable(self, ort: Any, device: int = 0) -> Driver | None:
        """Check what it needs on this machine, before a model is read.

        Args:
            ort: the onnxruntime module.
            device: index of the GPU.

        Returns:
            The GPU's driver; None where no GPU is needed.

        Raises:
            PlacementError: this ONNX Runtime is built without it, or something that it needs is missing.
            InputError: the machine has no such device.
        """
        return None

    def require_model(self, ort: Any, request: ProviderRequest, driver: Driver | None) -> None:
        """Refuse a request that is known to fail with this model, before minutes of compiling.

        Args:
            ort: the onnxruntime module.
            request: with the precision of the model.
            driver: what `require_usable` gave.

        Raises:
            PlacementError, InputError: it is known to fail.
        """

    def options(self, request: ProviderRequest) -> Options:
        """Its options, but for those that depend on the model."""
        return {}

    def engine_options(self, request: ProviderRequest, context: EngineContext) -> Options:
        """Options of the engine that it compiles; none where it compiles nothing.

        Raises:
            ModelError: it cannot compile for such an input.
        """
        return {}

    def provider_list(self, request: ProviderRequest, context: EngineContext) -> list[tuple[str, Options]]:
        """Execution providers in order of preference, with their options, as ONNX Runtime takes them.

        ONNX Runtime itself adds the CPU at the end.
        """
        return [(self.ort_name, {**self.options(request), **self.engine_options(request, context)})]

    def engine_key(self, request: ProviderRequest, context: EngineContext) -> Options:
        """The options, and settings of the process, that change what is compiled."""
        return {}

    def compiler_version(self, ort: Any) -> str:
        """Version of the compiler, such as 10.3.0; empty where it compiles nothing.

        Raises:
            PlacementError: the compiler does not tell its version.
        """
        return ""

    def session_entries(self, precision: str | None) -> Mapping[str, str]:
        """Entries of ONNX Runtime's session configuration for a model of that precision."""
        return {}

    def fixes_batches(self, request: ProviderRequest) -> bool:
        """Whether a session runs only the batches of the request."""
        return self.has_cuda_graphs and request.engine.cuda_graph

    def inspect_engine(self, placement: Placement, request: ProviderRequest, engines: Path) -> Placement:
        """The placement, with what a compiled engine itself says of it.

        Raises:
            PlacementError: layers are elsewhere than requested.
        """
        return placement

    def failure(self, error: Exception) -> PlacementError:
        """What to raise when ONNX Runtime failed to open a model on it."""
        return PlacementError(
            f"The provider {self.name} cannot run this model here.", got=gist(error), todo="edgeproof doctor"
        )

    def broken_libraries(
        self, ort: Any, load: Callable[[str], Any] = ctypes.CDLL
    ) -> list[libraries.BrokenLibrary]:
        """The shared libraries that it needs and that cannot be loaded; those that can be are loaded.

        Args:
            ort: the onnxruntime module.
            load: opens a library by name or path; raises OSError when it cannot.
        """
        return libraries.broken_libraries(ort, self.library, self.opened_later, load) if self.library else []
