"""One model, open on one provider, and what is measured of it, turn by turn."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..device.memory import gpu_bytes_used, resident_bytes
from ..device.power import Meter, Power
from ..errors import InputError, ModelError, gist
from ..providers.request import ProviderRequest
from ..session.binding import Binding
from ..session.builder import ModelFor, open_first, sole_input
from .latency import Latency, summarize_latency

Clock = Callable[[], float]
Step = Callable[[], tuple[float, float]]
LEAST_RUNS = 2  # in a turn, however slow the model


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
        wanted, precision, batch: what was asked for.
        provider: the providers that ran nodes, such as cuda, or tensorrt+cpu.
        fallback: whether that is not what was asked for.
        placement: the same in words.
        opening_s: seconds until the session was open, an engine's compilation included.
        latency: of one batch, copies to and from the device included.
        throughput: pictures a second.
        copy_ms, device_ms: median share of a batch's latency: copies, and what the provider took.
        preprocess_ms: for a batch, on one core, beside that latency; None where pictures are not taken.
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


class Contender:
    """A model on a provider, with the same batch over and over.

    Args:
        ort: the onnxruntime module.
        model_for: gives the model for a provider.
        request: where and how to run it.
        samples: the batch.
        clock: gives seconds.
        meter: reads power and temperature while it is measured.

    Raises:
        InputError: the model's batch is fixed at another size.
        PlacementError: the provider cannot be used here, or leaves nodes to another.
        ModelError: ONNX Runtime does not accept the model, or fails on the batch; so do the methods.
    """

    def __init__(
        self,
        ort: Any,
        model_for: ModelFor,
        request: ProviderRequest,
        samples: NDArray[Any],
        clock: Clock,
        meter: Meter,
    ) -> None:
        self._request, self._samples, self._clock, self._meter = request, samples, clock, meter
        self._before = self._memory()
        start = clock()
        opened = open_first(ort, model_for, request)
        self._opening = clock() - start
        self._placement = opened.placement
        self._precision = opened.request.precision or "fp32"
        found = sole_input(opened.session)
        if isinstance(found.shape[0], int) and found.shape[0] != len(samples):
            raise InputError(
                "The model's batch is fixed.",
                wanted=f"a batch of {len(samples)}",
                available=f"--batch {found.shape[0]}",
            )
        names = tuple(output.name for output in opened.session.get_outputs())
        with _blamed_on(samples):
            if opened.placement.provider == "cpu":
                self._step = _host_step(opened.session, samples, found.name, names, clock)
            else:
                binding = Binding(
                    ort,
                    opened.session,
                    samples,
                    input_name=found.name,
                    output_names=names,
                    index=request.device,
                )
                self._step = _device_step(binding, samples, clock)
        self._growth: tuple[int | None, int | None] = (None, None)
        self._copies, self._device, self._total = array("d"), array("d"), array("d")
        self._elapsed = 0.0

    def warm_up(self, seconds: float) -> None:
        """Run for that long, at least once, so that caches are filled and clocks have risen."""
        end = self._clock() + seconds
        with _blamed_on(self._samples):
            self._step()
            while self._clock() < end:
                self._step()
        (own, gpu), (own_before, gpu_before) = self._memory(), self._before
        self._growth = _growth(own_before, own), _growth(gpu_before, gpu)

    def take_turn(self, seconds: float) -> None:
        """Measure for that long; the first run after another's turn finds cold caches and does not count."""
        with _blamed_on(self._samples):
            self._step()
            self._measure(seconds)

    def measurement(self, picture_s: float | None) -> Measurement:
        """What all turns gave; `picture_s` are the seconds that preprocessing a picture takes."""
        batch = len(self._samples)
        throughput = batch * len(self._total) / self._elapsed
        session_bytes, gpu_bytes = self._growth
        return Measurement(
            wanted=self._request.provider,
            precision=self._precision,
            batch=batch,
            provider=self._placement.label,
            fallback=self._placement.fallback,
            placement=str(self._placement),
            opening_s=self._opening,
            latency=summarize_latency(self._total),
            throughput=throughput,
            copy_ms=1000 * _middle(self._copies),
            device_ms=1000 * _middle(self._device),
            preprocess_ms=None if picture_s is None else 1000 * batch * picture_s,
            session_bytes=session_bytes,
            gpu_bytes=gpu_bytes,
            power=self._meter.power(throughput),
            celsius=self._meter.celsius,
        )

    def _measure(self, seconds: float) -> None:
        with self._meter:
            start = now = self._clock()
            count = 0
            while now - start < seconds or count < LEAST_RUNS:
                copies, device = self._step()
                self._copies.append(copies)
                self._device.append(device)
                self._total.append(copies + device)
                count += 1
                now = self._clock()
            self._elapsed += now - start

    def _memory(self) -> tuple[int | None, int | None]:
        on_gpu = self._request.provider != "cpu"
        return resident_bytes(), gpu_bytes_used(self._request.device) if on_gpu else None


@contextmanager
def _blamed_on(samples: NDArray[Any]) -> Iterator[None]:
    """Turn what ONNX Runtime raises, which shares no base class, into one error."""
    try:
        yield
    except Exception as error:
        raise ModelError(
            f"ONNX Runtime failed on a batch of shape {samples.shape}.", got=gist(error)
        ) from error


def _device_step(binding: Binding, batch: NDArray[Any], clock: Clock) -> Step:
    """Seconds of one inference: for the copies there and back, and on the device."""

    def step() -> tuple[float, float]:
        start = clock()
        binding.write(batch)
        copied = clock()
        binding.infer()
        done = clock()
        binding.read()
        return copied - start + clock() - done, done - copied

    return step


def _host_step(
    session: Any, batch: NDArray[Any], input_name: str, output_names: tuple[str, ...], clock: Clock
) -> Step:
    """The same where the caller's own array is the bound memory: there is nothing to copy."""
    feed = {input_name: batch}

    def step() -> tuple[float, float]:
        start = clock()
        session.run(output_names, feed)
        return 0.0, clock() - start

    return step


def _growth(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _middle(seconds: array[float]) -> float:
    """The median by nearest rank, as of the latency that it is a share of."""
    return float(np.percentile(seconds, 50, method="inverted_cdf"))
