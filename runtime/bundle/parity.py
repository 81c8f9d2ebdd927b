"""Comparison of two forms of a model: their error, relative to what the input changes in the output.

An absolute tolerance passes anything when logits are near 1e-9, and a tolerance relative to the
output's magnitude passes anything when a constant (a bias, say) outweighs the answer. The verdict here
is therefore relative to the *signal*: the part of the reference that changes from input to input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tolerance:
    """The most that two forms of a model may differ.

    Attributes:
        relative_l2: norm of the error over norm of the signal (the reference less its mean over the
            samples); 1e-4 is 80 dB.
        top1_agreement: share of samples, 0..1, whose largest output must be the same. Short of 1 it lets
            one sample differ however few there are: two of its scores may be as good as equal.
    """

    relative_l2: float
    top1_agreement: float


# float32: ten thousand times tighter than any wrong weight, epsilon or padding that was tried.
# fp16: 11 significant bits through some hundred layers. int8: with a larger error predictions are arbitrary.
TOLERANCES: Mapping[str, Tolerance] = {
    "fp32": Tolerance(relative_l2=1e-4, top1_agreement=1.0),
    "fp16": Tolerance(relative_l2=2e-2, top1_agreement=0.99),
    "int8": Tolerance(relative_l2=0.35, top1_agreement=0.9),
}

# float32 as a GPU multiplies it unless it is told not to: TF32 rounds the factors of each product to the 11
# significant bits of FP16, and sums in float32. Half of FP16's tolerance.
TF32_TOLERANCE = Tolerance(relative_l2=1e-2, top1_agreement=0.99)

WEAK_SIGNAL = 1e-2  # share of the output that depends on the input, below which the message says so


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
        top1_agreement: share of samples with the same largest output; None where outputs are not
            of shape (N, classes).
        output: name of the output compared.
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
    top1_agreement: float | None = None
    output: str = "output"

    def __bool__(self) -> bool:
        return self.passed


def compare(
    reference: NDArray[np.floating],
    candidate: NDArray[np.floating],
    tolerance: Tolerance,
    *,
    output: str = "output",
) -> Parity:
    """Compare one output of two forms of a model, such as PyTorch's network and its ONNX export.

        parity = compare(expected, found, Tolerance(relative_l2=1e-4, top1_agreement=1.0))
        print(bool(parity), parity.reason, parity.sqnr_db)

    NaN, Inf, another shape, or a reference that does not depend on the input never pass: the last because it
    would prove nothing about the layers before it.

    Args:
        reference, candidate: the outputs, shape (N, ...), of the same N inputs; N is at least 2.
        tolerance: what may differ.
        output: the output's name, for the result.
    """
    samples = len(reference) if np.ndim(reference) else 0
    problem = _unmeasurable(reference, candidate)
    if problem:
        return Parity(False, problem, samples, tolerance=tolerance, output=output)
    wanted, got = reference.astype(np.float64), candidate.astype(np.float64)
    size = float(max(np.abs(wanted).max(), np.abs(got).max())) or 1.0
    wanted, got = wanted / size, got / size  # so that no square overflows or vanishes
    error = got - wanted
    error_norm, wanted_norm = _norm(error), _norm(wanted)
    varies = bool((wanted != wanted[0]).any())
    signal_norm = _norm(wanted - wanted.mean(axis=0))
    relative = error_norm / signal_norm if varies else None
    norms = wanted_norm * _norm(got)
    agreement = top1_agreement(wanted, got)
    reason = _shortfall(relative, agreement, samples, tolerance)
    if reason and signal_norm < WEAK_SIGNAL * wanted_norm:
        share = signal_norm / wanted_norm
        reason += f"; only {share:.1e} of the output depends on the input: are the weights trained?"
    return Parity(
        passed=not reason,
        reason=reason,
        samples=samples,
        max_abs=size * float(np.abs(error).max()),
        mean_abs=size * float(np.abs(error).mean()),
        relative_l2=relative,
        cosine=float(np.vdot(wanted, got) / norms) if norms > 0 else None,
        sqnr_db=20 * math.log10(wanted_norm / error_norm) if error_norm and wanted_norm else None,
        top1_agreement=agreement,
        tolerance=tolerance,
        output=output,
    )


def compare_outputs(
    reference: Mapping[str, NDArray[np.floating]],
    candidate: Mapping[str, NDArray[np.floating]],
    tolerance: Tolerance,
) -> Parity:
    """Compare all outputs by name and return the worst comparison, as `worst` does."""
    results = [
        compare(reference[name], candidate.get(name, np.empty(0)), tolerance, output=name)
        for name in reference
    ]
    return worst(results)


def worst(results: Sequence[Parity]) -> Parity:
    """The worst comparison: a failed one first, then one without a relative error, then the largest error."""

    def badness(parity: Parity) -> tuple[bool, float]:
        unmeasured = parity.relative_l2 is None
        return not parity.passed, math.inf if unmeasured else parity.relative_l2 or 0.0

    return max(results, key=badness)


def top1_agreement(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> float | None:
    """Share of rows (N, classes) whose largest element stands in the same place; None for other shapes."""
    if reference.ndim != 2 or reference.shape[1] < 2:
        return None
    return float((reference.argmax(axis=1) == candidate.argmax(axis=1)).mean())


def _unmeasurable(reference: NDArray[np.floating], candidate: NDArray[np.floating]) -> str:
    if reference.shape != candidate.shape:
        return f"the shapes differ: {reference.shape} and {candidate.shape}"
    if reference.size == 0 or len(reference) < 2:
        return "at least two samples are needed to tell the signal from a constant"
    for what, values in (("reference", reference), ("candidate", candidate)):
        if not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))
            return f"the {what} holds {len(bad)} NaN or Inf, the first in sample {bad[0][0]}"
    return ""


def _shortfall(relative: float | None, agreement: float | None, samples: int, tolerance: Tolerance) -> str:
    if relative is None:
        return "the reference is the same for every input: nothing is proven by matching it"
    if not relative <= tolerance.relative_l2:
        return f"relative error {relative:.3g} is above {tolerance.relative_l2:g}"
    if agreement is not None and _whole(samples * (1 - agreement)) > _whole(
        samples * (1 - tolerance.top1_agreement)
    ):
        return f"top-1 agreement {agreement:.2%} is below {tolerance.top1_agreement:.2%}"
    return ""


def _whole(samples: float) -> int:
    """The next whole number of samples, where the rounding of floats does not count."""
    return math.ceil(samples - 1e-6)


def _norm(values: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(values.ravel()))
