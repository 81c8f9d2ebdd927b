"""Comparison of two forms of a model: their error, relative to what the input changes in the output.

An absolute tolerance passes anything when logits are near 1e-9, and a tolerance relative to the
output's magnitude passes anything when a constant (a bias, say) outweighs the answer. The verdict here
is therefore relative to the *signal*: the part of the reference that changes from input to input.

Every value of every output is judged. Where one output holds several units (boxes in pixels beside scores of
0..1), each is judged apart, relative to its own signal; the task says which parts there are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EdgeproofError
from ..tasks.base import Outputs, Task
from ..tasks.outputs import OutputSpec


@dataclass(frozen=True)
class Tolerance:
    """The most that two forms of a model may differ.

    Attributes:
        relative_l2: norm of the error over norm of the signal (the reference less its mean over the
            samples); 1e-4 is 80 dB.
        agreement: share of the answers, 0..1, that must be the same, as the task counts them. Where samples
            are counted whole, one may differ however few there are, unless it is 1: two of its scores may be
            as good as equal.
    """

    relative_l2: float
    agreement: float


# float32: ten thousand times tighter than any wrong weight, epsilon or padding that was tried.
# fp16: 11 significant bits through some hundred layers. int8: with a larger error predictions are arbitrary.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(relative_l2=1e-4, agreement=1.0),
    "fp16": Tolerance(relative_l2=2e-2, agreement=0.99),
    "int8": Tolerance(relative_l2=0.35, agreement=0.9),
}

# float32 as a GPU multiplies it unless it is told not to: TF32 rounds the factors of each product to the 11
# significant bits of FP16, and sums in float32. Half of FP16's tolerance.
TF32_TOLERANCE = Tolerance(relative_l2=1e-2, agreement=0.99)

WEAK_SIGNAL = 1e-2  # share of the output that depends on the input, below which the message says so
CHUNK = 1 << 21  # values that are compared at once, so that memory does not grow with the samples


@dataclass(frozen=True)
class PartError:
    """The error of one part of the outputs; the quantities are those of `Parity`."""

    name: str
    relative_l2: float | None
    sqnr_db: float | None
    max_abs: float | None


@dataclass(frozen=True)
class Parity:
    """What a comparison measured; its truth value is the verdict.

    Attributes:
        passed: the verdict.
        reason: why it failed; empty when it passed.
        samples: number of inputs compared.
        tolerance: what was allowed.
        max_abs, mean_abs: absolute error, in units of the output.
        relative_l2: norm of the error over norm of the signal; None where there is no signal.
        cosine: cosine of the angle between both outputs, flattened; None where one of them is zero.
        sqnr_db: 20·log10(norm of the reference / norm of the error); None when there is no error.
        agreement: share of the answers that are the same, 0..1, as the task counts them; None where no task
            was given, or where something is not measurable.
        agreed_on: what the task counts, such as "top-1 agreement".
        top1_agreement: the same of a classification; None for other tasks.
        output: name of the part of the outputs to which the error belongs: the worst one.
        parts: the error of every part.
    """

    passed: bool
    reason: str
    samples: int
    tolerance: Tolerance
    max_abs: float | None = None
    mean_abs: float | None = None
    relative_l2: float | None = None
    cosine: float | None = None
    sqnr_db: float | None = None
    agreement: float | None = None
    agreed_on: str = ""
    top1_agreement: float | None = None
    output: str = "output"
    parts: tuple[PartError, ...] = ()

    def __bool__(self) -> bool:
        return self.passed


def compare(
    reference: NDArray[Any], candidate: NDArray[Any], tolerance: Tolerance, *, output: str = "output"
) -> Parity:
    """Compare one output of two forms of a model, such as PyTorch's network and its ONNX export.

        parity = compare(expected, found, Tolerance(relative_l2=1e-4, agreement=1.0))
        print(bool(parity), parity.reason, parity.sqnr_db)

    NaN, Inf, another shape, or a reference that does not depend on the input never pass: the last because it
    would prove nothing about the layers before it. Integers and booleans must be equal.

    Args:
        reference, candidate: the outputs, shape (N, ...), of the same N inputs; N is at least 2.
        tolerance: what may differ.
        output: the output's name, for the result.
    """
    samples = len(reference) if np.ndim(reference) else 0
    problem = _unmeasurable(reference, candidate)
    if problem:
        return Parity(False, problem, samples, tolerance=tolerance, output=output)
    sums = _sums(reference, candidate)
    relative = sums.error / sums.signal if sums.varies and sums.signal else None
    reason = _too_large(relative, tolerance)
    if reason and sums.signal < WEAK_SIGNAL * sums.wanted:
        share = sums.signal / sums.wanted
        reason += f"; only {share:.1e} of the output depends on the input: are the weights trained?"
    norms = sums.wanted * sums.got
    decibels = 20 * math.log10(sums.wanted / sums.error) if sums.error and sums.wanted else None
    return Parity(
        passed=not reason,
        reason=reason,
        samples=samples,
        max_abs=sums.size * sums.largest,
        mean_abs=sums.size * sums.total / reference.size,
        relative_l2=relative,
        cosine=sums.dot / norms if norms > 0 else None,
        sqnr_db=decibels,
        tolerance=tolerance,
        output=output,
        parts=(PartError(output, relative, decibels, sums.size * sums.largest),),
    )


def compare_outputs(
    reference: Outputs,
    candidate: Outputs,
    tolerance: Tolerance,
    task: Task,
    outputs: Sequence[OutputSpec],
    *,
    logits: tuple[Outputs, Outputs] | None = None,
) -> Parity:
    """Compare every part of all outputs, and the answers that the task reads from them.

    Args:
        reference, candidate: by output name, each of shape (N, ...).
        tolerance: what may differ.
        task: says which parts are judged apart, and how answers are compared.
        outputs: describes them.
        logits: those of both models under their outputs' names, where the error is that of the logits.

    Returns:
        The worst part's error, as `worst` finds it, with the agreement of the answers. Where nothing in the
        answers can be compared, it does not pass.
    """
    wanted, got = logits or (reference, candidate)
    errors = [
        compare(part.of(wanted), part.of(got), tolerance, output=part.name) for part in task.parts(outputs)
    ]
    found = worst(errors)
    found = replace(found, parts=tuple(part for error in errors for part in error.parts))
    if any(error.max_abs is None for error in errors):
        return found
    return _with_agreement(found, reference, candidate, task)


def _with_agreement(parity: Parity, reference: Outputs, candidate: Outputs, task: Task) -> Parity:
    measure = task.agreement
    try:
        pairs = zip(task.decode(reference), task.decode(candidate), strict=True)
        percent = measure.value([measure.count(wanted, got) for wanted, got in pairs])
    except EdgeproofError as error:
        return replace(parity, passed=False, reason=parity.reason or error.message)
    if percent is None:
        reason = f"{measure.name} cannot be judged: the reference's answers hold nothing to compare"
        return replace(parity, passed=False, reason=parity.reason or reason, agreed_on=measure.name)
    agreement = percent / 100
    reason = parity.reason or _too_little(agreement, parity, task)
    return replace(
        parity,
        passed=not reason,
        reason=reason,
        agreement=agreement,
        agreed_on=measure.name,
        top1_agreement=agreement if task.name == "classification" else None,
    )


def worst(results: Sequence[Parity]) -> Parity:
    """The worst comparison: a failed one first, then one without a relative error, then the largest error."""

    def badness(parity: Parity) -> tuple[bool, float]:
        unmeasured = parity.relative_l2 is None
        return not parity.passed, math.inf if unmeasured else parity.relative_l2 or 0.0

    return max(results, key=badness)


@dataclass
class _Sums:
    """Norms over all samples, of values that were divided by `size` so that no square overflows."""

    size: float
    varies: bool = False
    error: float = 0.0
    wanted: float = 0.0
    got: float = 0.0
    signal: float = 0.0
    dot: float = 0.0
    largest: float = 0.0
    total: float = 0.0


def _sums(reference: NDArray[Any], candidate: NDArray[Any]) -> _Sums:
    size = max(_largest(reference), _largest(candidate)) or 1.0
    mean = sum(chunk.sum(axis=0) for chunk in _chunks(reference, size)) / len(reference)
    found = _Sums(size)
    first = next(_chunks(reference, size))[0]
    pairs = zip(_chunks(reference, size), _chunks(candidate, size), strict=True)
    for wanted, got in pairs:
        error = np.abs(got - wanted)
        found.varies = found.varies or bool((wanted != first).any())
        found.error += _square(error)
        found.wanted += _square(wanted)
        found.got += _square(got)
        found.signal += _square(wanted - mean)
        found.dot += float(np.vdot(wanted, got))
        found.largest = max(found.largest, float(error.max()))
        found.total += float(error.sum())
    for name in ("error", "wanted", "got", "signal"):
        setattr(found, name, math.sqrt(getattr(found, name)))
    return found


def _chunks(values: NDArray[Any], size: float) -> Iterator[NDArray[np.float64]]:
    step = max(1, CHUNK * len(values) // max(values.size, 1))
    for start in range(0, len(values), step):
        yield values[start : start + step].astype(np.float64) / size


def _largest(values: NDArray[Any]) -> float:
    return max(float(values.max()), -float(values.min()))


def _square(values: NDArray[np.float64]) -> float:
    return float(np.vdot(values, values))


def _unmeasurable(reference: NDArray[Any], candidate: NDArray[Any]) -> str:
    if reference.shape != candidate.shape:
        return f"the shapes differ: {reference.shape} and {candidate.shape}"
    if reference.size == 0 or len(reference) < 2:
        return "at least two samples are needed to tell the signal from a constant"
    for what, values in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))
            return f"the {what} holds {len(bad)} NaN or Inf, the first in sample {bad[0][0]}"
    return ""


def _too_large(relative: float | None, tolerance: Tolerance) -> str:
    if relative is None:
        return "the reference is the same for every input: nothing is proven by matching it"
    if not relative <= tolerance.relative_l2:
        return f"relative error {relative:.3g} is above {tolerance.relative_l2:g}"
    return ""


def _too_little(agreement: float, parity: Parity, task: Task) -> str:
    """Why an agreement is not enough; empty if it is. What is counted by samples is held to whole samples."""
    needed = parity.tolerance.agreement
    if task.ties:
        enough = agreement >= needed - task.ties
    else:
        enough = _whole(parity.samples * (1 - agreement)) <= _whole(parity.samples * (1 - needed))
    return "" if enough else f"{task.agreement.name} {agreement:.2%} is below {needed:.2%}"


def _whole(samples: float) -> int:
    """The next whole number of samples, where the rounding of floats does not count."""
    return math.ceil(samples - 1e-6)
