"""NVIDIA's compiler is shown every model that TensorRT is to take, where the compiler is installed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ...calibration.preflight.check import is_installed, preflight
from ...calibration.preflight.handed_over import GROWTH, preflight_handed_over
from ...calibration.progress import Progress
from ...calibration.targets.registry import find_target
from .parity import PrecisionResult


def check_compiler(
    results: Mapping[str, PrecisionResult], target: str, progress: Progress
) -> dict[str, PrecisionResult]:
    """The same results, each with what the compiler said of it.

    The INT8 model for the CPU is not shown: TensorRT refuses its asymmetric pairs.

    Raises:
        ProofError: the compiler refuses a model.
    """
    if not is_installed():
        progress.note(
            'pre-flight: not checked, for want of NVIDIA\'s compiler (pip install "edgeproof[preflight]")'
        )
        return dict(results)
    checked = dict(results)
    with progress.stage("preflight"):
        for name, result in results.items():
            if name != "int8" or find_target(target).compiled:
                checked[name] = _compiled(name, result, progress)
    return checked


def _compiled(name: str, entry: PrecisionResult, progress: Progress) -> PrecisionResult:
    data = entry.artifact.data
    result = preflight(data)
    result.require(name)
    handed = preflight_handed_over(data, result)
    handed.require(name)
    if handed.growth > GROWTH:
        progress.note(f"{name}: {handed}")
    return replace(entry, preflight=result.record(str(handed)))
