"""One case of a benchmark: an open session, and what is measured of it, turn by turn."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device.memory import gpu_bytes_used, resident_bytes
from ..device.power import Meter, Power
from ..errors import InputError
from ..session.session import Session
from .latency import Latency, summarize_latency

Clock = Callable[[], float]
MIN_RUNS = 2  # in a turn, however slow the model


@dataclass(frozen=True)
class Ratios:
    """This measurement over the first one of the same batch: 2 means twice as much.

    Attributes:
        throughput, p50, joules: None where either side is unknown.
    """

    throughput: float
    p50: float | None
    joules: float | None


@dataclass(frozen=True)
class Measurement:
    """One precision on one provider at one size of batch.

    Attributes:
        wanted, precision, batch: what was requested.
        provider: the providers that ran nodes, such as cuda, or tensorrt+cpu.
        fallback: whether that is not what was requested.
        placement: the same in words.
        opening_s: seconds until the session was open, an engine's compilation included.
        latency: of one call of `Session.run`, copies to and from the device included.
        throughput: pictures a second.
        copy_ms, device_ms: medians of the two parts of that latency: copies, and the provider's own time.
        preprocess_ms: time to preprocess a batch on one core, which the latency does not hold; None where
            pictures are not taken.
        session_bytes: memory by which this process grew when the session was opened and warmed up.
        gpu_bytes: the same on the GPU; on a Jetson, whose GPU shares the board's memory, of the whole board.
        power: None where no sensor tells.
        celsius: highest temperature of the device; None where no sensor tells.
        ratios: to the first of the same batch; None for that one.
    """

    wanted: str
    precision: str
    batch: int
    provider: str
    fallback: bool
    placement: str
    opening_s: float
    latency: Latency
    throughput: float
    copy_ms: float
    device_ms: float
    preprocess_ms: float | None
    session_bytes: int | None
    gpu_bytes: int | None
    power: Power | None
    celsius: float | None
    ratios: Ratios | None = None


class BenchmarkCase:
    """A session that runs the same batch over and over.

    Args:
        open_session: opens it.
        samples: the batch.
        clock: gives seconds.
        meter: reads power and temperature while it is measured.
        gpu: index of the GPU whose memory is read; None to read none.

    Raises:
        InputError: the model's batch is fixed at another size.
        EdgeproofError: as `open_session` does.
    """

    def __init__(
        self,
        open_session: Callable[[], Session],
        samples: NDArray[Any],
        clock: Clock,
        meter: Meter,
        gpu: int | None = None,
    ) -> None:
        self._samples, self._clock, self._meter, self._gpu = samples, clock, meter, gpu
        self._memory_before = self._memory()
        start = clock()
        self._session = open_session()
        self._opening = clock() - start
        fixed = self._session.input_shape[0]
        if isinstance(fixed, int) and fixed != len(samples):
            raise InputError(
                "The model's batch is fixed.",
                wanted=f"a batch of {len(samples)}",
                available=f"--batch {fixed}",
            )
        self._growth: tuple[int | None, int | None] = (None, None)
        self._copies, self._device, self._total = array("d"), array("d"), array("d")
        self._elapsed = 0.0

    def warm_up(self, seconds: float) -> None:
        """Run for that long, at least once, so that caches are filled and clocks have risen.

        Raises:
            ModelError: ONNX Runtime fails on the batch; so does `measure`.
        """
        end = self._clock() + seconds
        self._run()
        while self._clock() < end:
            self._run()
        (own, gpu), (own_before, gpu_before) = self._memory(), self._memory_before
        self._growth = _growth(own_before, own), _growth(gpu_before, gpu)

    def measure(self, seconds: float) -> None:
        """Measure for that long, and at least MIN_RUNS times.

        The first run is not counted: other cases have run since, and the caches hold their data.
        """
        self._run()
        with self._meter:
            start = now = self._clock()
            count = 0
            while now - start < seconds or count < MIN_RUNS:
                copies, device = self._run()
                self._copies.append(copies)
                self._device.append(device)
                self._total.append(copies + device)
                count += 1
                now = self._clock()
            self._elapsed += now - start

    def measurement(self, picture_s: float | None) -> Measurement:
        """What all turns gave; `picture_s` are the seconds that preprocessing a picture takes."""
        batch, placement = len(self._samples), self._session.placement
        throughput = batch * len(self._total) / self._elapsed
        session_bytes, gpu_bytes = self._growth
        return Measurement(
            wanted=placement.wanted,
            precision=self._session.precision,
            batch=batch,
            provider=placement.label,
            fallback=placement.fallback,
            placement=str(placement),
            opening_s=self._opening,
            latency=summarize_latency(self._total),
            throughput=throughput,
            copy_ms=1000 * _median(self._copies),
            device_ms=1000 * _median(self._device),
            preprocess_ms=None if picture_s is None else 1000 * batch * picture_s,
            session_bytes=session_bytes,
            gpu_bytes=gpu_bytes,
            power=self._meter.power(throughput),
            celsius=self._meter.celsius,
        )

    def _run(self) -> tuple[float, float]:
        """Seconds of one inference: for copies, and in the provider."""
        clock = self._clock
        times = [clock()]
        self._session.run(self._samples, lambda: times.append(clock()))
        times.append(clock())
        device = times[-2] - times[1] if len(times) > 2 else times[-1] - times[0]
        return times[-1] - times[0] - device, device

    def _memory(self) -> tuple[int | None, int | None]:
        return resident_bytes(), None if self._gpu is None else gpu_bytes_used(self._gpu)


def run_interleaved(cases: Sequence[BenchmarkCase], turns: int, duration: float) -> None:
    """Measure cases in turns, each for `duration` seconds in all.

    A clock that drops, or other work on the machine, then slows all of them alike.
    """
    for _ in range(turns):
        for case in cases:
            case.measure(duration / turns)


def _growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _median(seconds: array[float]) -> float:
    """By nearest rank, as the percentiles of the latency are."""
    return float(np.percentile(seconds, 50, method="inverted_cdf"))
