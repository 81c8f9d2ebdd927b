"""How fast a bundle runs here, and what that costs: latency, throughput, memory and energy.

What is timed is `Session.run` of the session that a runner uses: one inference at a time, from a batch in the
process's own memory to its outputs there. Cases that are compared are open at the same time and measured in
turns.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PIL import Image

from ..bundle.bundle import Bundle
from ..bundle.preprocess import Preprocess
from ..device import jetson
from ..device.memory import resident_bytes
from ..device.power import Meter, Reading, read_sensors
from ..errors import InputError
from ..providers.registry import candidates
from ..providers.request import Batches, ProviderRequest
from ..session.selection import open_session
from ..session.session import load_onnxruntime
from .measurement import BenchmarkCase, Measurement, Ratios, run_interleaved

TURNS = 5
PICTURE_SIZE = (480, 640)  # height and width of the picture that is preprocessed
PREPROCESS_RUNS = 20


@dataclass(frozen=True)
class BenchmarkPlan:
    """What to measure.

    Attributes:
        requests: providers and precisions; the ratios are to the first.
        batches: sizes of batch. Each has sessions of its own, and so an engine that is compiled for it.
        warm_up: seconds that each runs before it is measured.
        duration: seconds for which each is measured.

    Raises:
        InputError: there is nothing to measure, a batch is below 1 or named twice, or a time is not a finite
            number of seconds.
    """

    requests: tuple[ProviderRequest, ...]
    batches: tuple[int, ...] = (1,)
    warm_up: float = 1.0
    duration: float = 5.0

    def __post_init__(self) -> None:
        if not self.requests or not self.batches:
            raise InputError("There is nothing to measure.", wanted="at least one provider and one batch")
        if min(self.batches) < 1 or len(set(self.batches)) < len(self.batches):
            raise InputError(
                "The batches cannot be measured.",
                wanted="sizes of 1 or more, each once",
                got=", ".join(map(str, self.batches)),
            )
        if not (math.isfinite(self.warm_up) and self.warm_up >= 0):
            raise InputError(
                "The warm-up must be a finite number of seconds, 0 or more.", got=f"--warm-up {self.warm_up}"
            )
        if not (math.isfinite(self.duration) and self.duration > 0):
            raise InputError(
                "The duration must be a finite number of seconds above 0.", got=f"--duration {self.duration}"
            )


@dataclass(frozen=True)
class BenchmarkReport:
    """All measurements, and where they were taken.

    Attributes:
        bundle: its name.
        machine: the board or operating system, and its cores.
        onnxruntime: its version.
        power_mode: of a Jetson; None elsewhere.
        clocks: as they were at the end.
        warm_up, duration: seconds, as planned.
        resident_bytes: memory of this process at the end, with all that it ever opened.
        measurements: by batch, in the order of the requests.
    """

    bundle: str
    machine: str
    onnxruntime: str
    power_mode: jetson.PowerMode | None
    clocks: tuple[jetson.Clock, ...]
    warm_up: float
    duration: float
    resident_bytes: int | None
    measurements: tuple[Measurement, ...]


def bench(
    bundle: Bundle,
    plan: BenchmarkPlan,
    *,
    tell: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.perf_counter,
    sensors: Callable[[], Reading] = read_sensors,
) -> BenchmarkReport:
    """Measure a bundle on its own golden inputs.

    Args:
        bundle: the bundle.
        plan: what to measure.
        tell: is given a line when something takes long.
        clock: gives seconds.
        sensors: reads power and temperature.

    Raises:
        InputError: the bundle does not hold a precision, or the model's batch is fixed at another size.
        PlacementError: a provider cannot be used here, or leaves nodes to another.
        ModelError: ONNX Runtime failed while it ran.
        MissingDependency: ONNX Runtime is not installed.
    """
    ort = load_onnxruntime()
    for request in plan.requests:
        if request.precision:
            bundle.model_entry(request.precision)
    golden = bundle.golden().input
    picture_s = _picture_seconds(bundle.manifest.preprocess, clock)

    def open_case(request: ProviderRequest, batch: int) -> BenchmarkCase:
        what = " ".join(filter(None, (request.provider, request.precision)))
        tell(f"{what}, batch {batch}: opening and warming up")
        one_size = replace(request, engine=replace(request.engine, batches=Batches(batch, batch, batch)))
        samples = np.ascontiguousarray(np.resize(golden, (batch, *golden.shape[1:])))
        gpu = request.device if any(one.memory for one in candidates(request.provider)) else None
        case = BenchmarkCase(partial(open_session, bundle, one_size), samples, clock, Meter(sensors), gpu)
        case.warm_up(plan.warm_up)
        return case

    measurements: list[Measurement] = []
    for batch in plan.batches:
        cases = [open_case(request, batch) for request in plan.requests]
        run_interleaved(cases, TURNS, plan.duration)
        measurements += _compared([case.measurement(picture_s) for case in cases])
    return BenchmarkReport(
        bundle=bundle.manifest.name,
        machine=f"{jetson.board() or platform.platform(terse=True)}, {os.cpu_count()} cores",
        onnxruntime=ort.__version__,
        power_mode=jetson.power_mode(),
        clocks=tuple(jetson.clocks()),
        warm_up=plan.warm_up,
        duration=plan.duration,
        resident_bytes=resident_bytes(),
        measurements=tuple(measurements),
    )


def parse_batches(text: str) -> tuple[int, ...]:
    """Sizes of batch from `1,2,4`.

    Raises:
        InputError: it is not such a list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise InputError("The batches are no list of numbers.", wanted="such as --batch 1,2,4", got=text)
    return tuple(map(int, parts))


def parse_requests(text: str, base: ProviderRequest) -> tuple[ProviderRequest, ...]:
    """Requests from `cpu:int8,cuda:fp16`; everything else in them is as in `base`.

    Raises:
        InputError: it is not such a list, names what does not exist, or excludes an option of `base`.
    """
    requests = []
    for part in text.split(","):
        provider, colon, precision = part.strip().partition(":")
        if not colon:
            raise InputError(
                "There is no list of providers and precisions to compare with.",
                wanted="such as --compare cpu:int8,cuda:fp16",
                got=text,
            )
        requests.append(replace(base, provider=provider, precision=precision))
    return tuple(requests)


def _picture_seconds(preprocess: Preprocess | None, clock: Callable[[], float]) -> float | None:
    """Median seconds to resize, crop and scale a decoded photograph of VGA size."""
    if preprocess is None:
        return None
    pixels = np.random.default_rng(0).integers(0, 256, (*PICTURE_SIZE, 3), np.uint8)
    image = Image.fromarray(pixels)
    seconds = []
    for _ in range(PREPROCESS_RUNS):
        start = clock()
        preprocess(image)
        seconds.append(clock() - start)
    return float(np.median(seconds))


def _compared(measurements: list[Measurement]) -> list[Measurement]:
    """The same with ratios to the first."""
    base, *rest = measurements
    return [base, *(replace(m, ratios=_ratios(m, base)) for m in rest)]


def _ratios(one: Measurement, base: Measurement) -> Ratios:
    p50, base_p50 = one.latency.p50, base.latency.p50
    return Ratios(
        throughput=one.throughput / base.throughput,
        p50=p50 / base_p50 if p50 and base_p50 else None,
        joules=one.power.joules / base.power.joules if one.power and base.power else None,
    )
