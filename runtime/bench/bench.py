"""How fast a bundle runs here, and what that costs: latency, throughput, memory and energy.

One inference at a time, from a batch in the process's own memory to its outputs there. What is to be compared
is open at the same time and measured in turns, so that a clock that drops, or a neighbour on the machine,
meets all alike.
"""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from ..bundle.bundle import Bundle
from ..bundle.preprocess import Preprocess
from ..device import jetson
from ..device.memory import resident_bytes
from ..device.power import Meter, Reading, read_sensors
from ..errors import InputError
from ..providers.request import Batches, ProviderRequest
from ..session.selection import model_for
from ..session.session import load_onnxruntime
from .measurement import Contender, Measurement, Ratios

TURNS = 5
PICTURE = (480, 640)  # height and width of the picture that is preprocessed
PICTURES = 20


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        requests: providers and precisions; the ratios are to the first.
        batches: sizes of batch. Each has sessions of its own, and so an engine that is compiled for it.
        warm_up: seconds that each runs before it is measured.
        duration: seconds for which each is measured.

    Raises:
        InputError: nothing to measure, a batch or a time that is none, or a batch named twice.
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
            raise InputError(f"One cannot warm up for {self.warm_up} s.", wanted="0 or more seconds")
        if not (math.isfinite(self.duration) and self.duration > 0):
            raise InputError(f"One cannot measure for {self.duration} s.", wanted="more than 0 seconds")


@dataclass(frozen=True)
class Report:
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
    plan: Plan,
    *,
    tell: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.perf_counter,
    sensors: Callable[[], Reading] = read_sensors,
) -> Report:
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

    def compete(batch: int) -> list[Measurement]:
        samples = np.ascontiguousarray(np.resize(golden, (batch, *golden.shape[1:])))
        contenders: list[Contender] = []
        for request in plan.requests:
            what = " ".join(filter(None, (request.provider, request.precision)))
            tell(f"{what}, batch {batch}: opening and warming up")
            exact = replace(request, batches=Batches(batch, batch, batch))
            model = model_for(bundle, request)
            contender = Contender(ort, model, exact, samples, clock, Meter(sensors))
            contender.warm_up(plan.warm_up)
            contenders.append(contender)
        for _ in range(TURNS):
            for contender in contenders:
                contender.take_turn(plan.duration / TURNS)
        return _compared([contender.measurement(picture_s) for contender in contenders])

    measurements = [measurement for batch in plan.batches for measurement in compete(batch)]
    return Report(
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


def parse_rivals(text: str, base: ProviderRequest) -> tuple[ProviderRequest, ...]:
    """Requests from `cpu:int8,cuda:fp16`, in all else like `base`.

    Raises:
        InputError: it is not such a list, names what does not exist, or what `base` excludes.
    """
    rivals = []
    for part in text.split(","):
        provider, colon, precision = part.strip().partition(":")
        if not colon:
            raise InputError(
                "What to compare with is no list of providers and precisions.",
                wanted="such as --compare cpu:int8,cuda:fp16",
                got=text,
            )
        rivals.append(replace(base, provider=provider, precision=precision))
    return tuple(rivals)


def _picture_seconds(preprocess: Preprocess | None, clock: Callable[[], float]) -> float | None:
    """Median seconds to resize, crop and scale a decoded photograph of VGA size."""
    if preprocess is None:
        return None
    pixels = np.random.default_rng(0).integers(0, 256, (*PICTURE, 3), np.uint8)
    image = Image.fromarray(pixels)
    seconds = []
    for _ in range(PICTURES):
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
