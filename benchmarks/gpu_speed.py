"""ONNX Runtime and PyTorch with the same batch, in turns, from the process's memory to scores there.

Both may multiply float32 as TF32, which is what each does by default or what its manual advises for speed.
PyTorch's networks are in channels-last order, as its manual advises for convolutions on tensor cores. Used by
gpu.py.
"""

from __future__ import annotations

import copy
import sys
import time
from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from gpu_options import NO_TIME
from numpy.typing import NDArray

from edgeproof.runtime.bench.latency import Latency, summarize_latency
from edgeproof.runtime.bench.measurement import BenchmarkCase
from edgeproof.runtime.device.power import Meter, read_sensors
from edgeproof.runtime.errors import gist
from edgeproof.runtime.providers.request import Batches, ProviderRequest
from edgeproof.runtime.session.session import Session

TURNS = 5
HALF = "fp16"
COMPILE_MODES = {"torch.compile": "default", "torch.compile, CUDA graph": "reduce-overhead"}


@dataclass(frozen=True)
class Speed:
    """What was measured of one way.

    Attributes:
        where: the providers that ran nodes, or PyTorch's device.
        latency: of one batch, copies to and from the device included.
        throughput: pictures a second.
        device_ms: median share of the provider alone; None for PyTorch, where it is not told apart.
        gpu_bytes: by which the GPU's memory in use grew; None where that is not known.
    """

    where: str
    latency: Latency
    throughput: float
    device_ms: float | None = None
    gpu_bytes: int | None = None


@dataclass(frozen=True)
class Line:
    """One way, and what was measured of it; `error` says why nothing was."""

    name: str
    speed: Speed | None
    error: str = ""


class Side(Protocol):
    """A way that can be measured, turn by turn."""

    def warm_up(self, seconds: float) -> None:
        """Run for that long, at least once."""

    def measure(self, seconds: float) -> None:
        """Measure for that long."""

    def speed(self) -> Speed:
        """What all turns gave."""


class OurSide:
    """A model on a provider.

    Args:
        model: the serialized ONNX model.
        request: where and how to run it; its batches become the size of `samples`.
        samples: the batch.
    """

    def __init__(self, model: bytes, request: ProviderRequest, samples: NDArray[Any]) -> None:
        batches = Batches(*[len(samples)] * 3)
        request = replace(request, engine=replace(request.engine, batches=batches))
        self._case = BenchmarkCase(
            lambda: Session(model, provider=request),
            samples,
            time.perf_counter,
            Meter(read_sensors),
            request.device,
        )
        self.warm_up = self._case.warm_up
        self.measure = self._case.measure

    def speed(self) -> Speed:
        """What all turns gave."""
        found = self._case.measurement(None)
        return Speed(found.provider, found.latency, found.throughput, found.device_ms, found.gpu_bytes)


class TorchSide:
    """A network of PyTorch's.

    Args:
        network: takes the batch on its device and in its precision, and gives scores.
        samples: the batch.
        device: such as cuda.
        precision: fp32 or fp16.
    """

    def __init__(
        self, network: Callable[[Any], Any], samples: NDArray[Any], device: str, precision: str
    ) -> None:
        self._network, self._samples, self._device = network, samples, device
        self._half = precision == HALF
        self._seconds = array("d")

    def warm_up(self, seconds: float) -> None:
        """Run for that long, at least once."""
        end = time.perf_counter() + seconds
        self.scores()
        while time.perf_counter() < end:
            self.scores()

    def measure(self, seconds: float) -> None:
        """Measure for that long; the first run after another's turn finds cold caches and does not count."""
        self.scores()
        start = now = time.perf_counter()
        while now - start < seconds:
            self.scores()
            before, now = now, time.perf_counter()
            self._seconds.append(now - before)

    def speed(self) -> Speed:
        """What all turns gave."""
        throughput = len(self._samples) * len(self._seconds) / sum(self._seconds)
        return Speed(self._device, summarize_latency(self._seconds), throughput)

    def scores(self) -> NDArray[np.float32]:
        """The network's scores for the batch, in the process's memory."""
        import torch

        with torch.inference_mode():
            batch = torch.from_numpy(self._samples).to(self._device)
            return self._network(batch.half() if self._half else batch).float().cpu().numpy()


def our_openers(
    models: Mapping[str, bytes], requests: Iterable[ProviderRequest], samples: NDArray[Any]
) -> dict[str, Callable[[], Side]]:
    """What opens each request, by its name; `models` are the ONNX files by precision."""

    def opener(request: ProviderRequest) -> Callable[[], Side]:
        return lambda: OurSide(models[request.precision], request, samples)

    return {name_of(request): opener(request) for request in requests}


def torch_openers(
    network: Any, samples: NDArray[Any], device: str, modes: Mapping[str, str]
) -> dict[str, Callable[[], Side]]:
    """What opens PyTorch eager, and compiled in each of the modes, in float32 and float16, by name."""
    import torch

    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.benchmark = True
    torch.compiler.reset()  # or it goes on uncompiled, having compiled one network for too many batches

    def opener(precision: str, mode: str | None) -> Callable[[], Side]:
        def open_side() -> Side:
            own = copy.deepcopy(network).eval().to(device, memory_format=torch.channels_last)
            own = own.half() if precision == HALF else own
            ready = own if mode is None else torch.compile(own, mode=mode, dynamic=False)
            return TorchSide(ready, samples, device, precision)

        return open_side

    return {
        f"{name} {precision}": opener(precision, mode)
        for name, mode in {"torch eager": None, **modes}.items()
        for precision in ("fp32", HALF)
    }


def compete(
    openers: Mapping[str, Callable[[], Side]], seconds: float, over: Callable[[], bool] = lambda: False
) -> list[Line]:
    """Open all, warm each up for a turn, and measure them in turns, each for that many seconds.

    A way that fails is a line that says why; the others go on. When the time is over no further one is
    opened, and those that are open get one turn.
    """
    sides: dict[str, Side] = {}
    errors: dict[str, str] = {}

    def attempt(name: str, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # ours, PyTorch's, its compiler's: the run is about all the others too
            errors[name] = gist(error)
            sides.pop(name, None)

    def prepare(name: str, opener: Callable[[], Side]) -> None:
        print(f"{name}: opening and warming up", file=sys.stderr, flush=True)
        sides[name] = opener()
        sides[name].warm_up(seconds / TURNS)

    for name, opener in openers.items():
        if over():
            errors[name] = NO_TIME
            continue
        attempt(name, lambda name=name, opener=opener: prepare(name, opener))
    for turn in range(TURNS):
        if turn and over():
            break
        for name, side in list(sides.items()):
            attempt(name, lambda side=side: side.measure(seconds / TURNS))
    return [
        Line(name, sides[name].speed()) if name in sides else Line(name, None, errors[name])
        for name in openers
    ]


def name_of(request: ProviderRequest) -> str:
    """A request in words."""
    return f"{request.provider} {request.precision}" + (", CUDA graph" if request.engine.cuda_graph else "")
