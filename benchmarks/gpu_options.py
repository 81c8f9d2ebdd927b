"""The CUDA provider's options, measured: first sight of a batch, steady state and memory. Used by gpu.py.

Each choice is one session of ONNX Runtime's own: first with a single picture, then with a larger batch, which
it plans anew. What alternating between the two costs is measured beside padding both to the larger one.
ONNX Runtime's manual, "CUDA Execution Provider", describes the options.
"""

from __future__ import annotations

import gc
import itertools
import time
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeproof.runtime.bench.latency import summarize_latency
from edgeproof.runtime.device.memory import gpu_bytes_used
from edgeproof.runtime.errors import gist
from edgeproof.runtime.providers.cuda import CUDA
from edgeproof.runtime.providers.request import ProviderRequest

# The values that are tried; the first of each is what ONNX Runtime takes where nothing is said.
SEARCH = ("cudnn_conv_algo_search", ("EXHAUSTIVE", "HEURISTIC", "DEFAULT"))
LAYOUT = ("prefer_nhwc", ("0", "1"))
ARENA = ("arena_extend_strategy", ("kNextPowerOfTwo", "kSameAsRequested"))
CHOICES = tuple(
    dict(zip((SEARCH[0], LAYOUT[0], ARENA[0]), values, strict=True))
    for values in itertools.product(SEARCH[1], LAYOUT[1], ARENA[1])
)
PRECISIONS = ("fp32", "fp16")
NO_TIME = "not run: the time was over"

Over = Callable[[], bool]


@dataclass(frozen=True)
class Step:
    """One batch: seconds of its first inference, median milliseconds, growth of GPU memory in bytes."""

    batch: int
    first_s: float
    p50_ms: float | None
    gpu_bytes: int | None


@dataclass(frozen=True)
class Row:
    """One choice in one precision: what was measured at each batch, or why nothing was."""

    precision: str
    choice: Mapping[str, str]
    steps: tuple[Step, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Alternation:
    """Milliseconds of a small batch and a large one: as they come, and both padded to the large one."""

    precision: str
    search: str
    as_they_come_ms: float | None
    padded_ms: float | None
    error: str = ""


def chosen(precision: str) -> dict[str, str]:
    """What edgeproof asks for today, ONNX Runtime's own defaults included."""
    asked = CUDA.options(ProviderRequest("cuda", precision))
    return {key: asked.get(key, values[0]) for key, values in (SEARCH, LAYOUT, ARENA)}


def sweep(
    ort: Any, models: Mapping[str, bytes], samples: Sequence[NDArray[Any]], seconds: float, over: Over
) -> list[Row]:
    """Every choice in float32 and float16, each batch for that many seconds, until the time is over."""
    return [
        _row(ort, models[precision], precision, choice, samples, seconds, over)
        for precision in PRECISIONS
        if precision in models
        for choice in CHOICES
    ]


def alternate(
    ort: Any, models: Mapping[str, bytes], samples: Sequence[NDArray[Any]], seconds: float, over: Over
) -> list[Alternation]:
    """The cost of alternating between the smallest and the largest batch, for each way of searching."""
    return [
        _alternation(ort, models[precision], precision, search, samples, seconds, over)
        for precision in PRECISIONS
        if precision in models
        for search in SEARCH[1]
    ]


def _row(
    ort: Any,
    model: bytes,
    precision: str,
    choice: Mapping[str, str],
    samples: Sequence[NDArray[Any]],
    seconds: float,
    over: Over,
) -> Row:
    if over():
        return Row(precision, choice, error=NO_TIME)
    gc.collect()
    before = gpu_bytes_used()
    try:
        run = _runner(ort, model, precision, choice)
        return Row(precision, choice, tuple(_step(run, batch, seconds, before) for batch in samples))
    except Exception as error:  # ONNX Runtime's exceptions share no base class; the others go on
        return Row(precision, choice, error=gist(error))


def _runner(
    ort: Any, model: bytes, precision: str, choice: Mapping[str, str]
) -> Callable[[NDArray[Any]], object]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    asked = {**CUDA.options(ProviderRequest("cuda", precision)), **choice}
    providers = [(CUDA.ort_name, asked)]
    session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    if CUDA.ort_name not in session.get_providers():
        raise RuntimeError("ONNX Runtime left the CUDA provider out, and would compute on the CPU")
    (name,) = (found.name for found in session.get_inputs())
    return lambda batch: session.run(None, {name: batch})


def _step(
    run: Callable[[NDArray[Any]], object], batch: NDArray[Any], seconds: float, before: int | None
) -> Step:
    first = _seconds(lambda: run(batch))
    latency = summarize_latency(_repeat(lambda: run(batch), seconds))
    after = gpu_bytes_used()
    grown = None if before is None or after is None else after - before
    return Step(len(batch), first, latency.p50, grown)


def _alternation(
    ort: Any,
    model: bytes,
    precision: str,
    search: str,
    samples: Sequence[NDArray[Any]],
    seconds: float,
    over: Over,
) -> Alternation:
    if over():
        return Alternation(precision, search, None, None, NO_TIME)
    small, large = samples[0], samples[-1]
    padded = np.zeros_like(large)

    def pad() -> NDArray[Any]:
        padded[: len(small)] = small
        return padded

    try:
        run = _runner(ort, model, precision, {**chosen(precision), SEARCH[0]: search})
        times = []
        for pair in (lambda: (run(small), run(large)), lambda: (run(pad()), run(large))):
            pair()
            times.append(summarize_latency(_repeat(pair, seconds)).p50)
    except Exception as error:  # as above
        return Alternation(precision, search, None, None, gist(error))
    return Alternation(precision, search, *times)


def _repeat(work: Callable[[], object], seconds: float) -> array[float]:
    """Seconds of each repetition, at least two."""
    times, end = array("d"), time.perf_counter() + seconds
    while len(times) < 2 or time.perf_counter() < end:
        times.append(_seconds(work))
    return times


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
