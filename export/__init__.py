"""The top floor: PyTorch to a proven bundle. Needs the extra `edgeproof[export]`.

Names are loaded when they are first used: the command `edgeproof` also serves devices without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..calibration.passes.uint8_request import Uint8Request
    from ..calibration.progress import Progress
    from .comparison.compare import Comparison
    from .comparison.open_forms import CompareRequest, compare_models
    from .data.arrays import array_dataset
    from .data.dataset import Dataset, Split
    from .evaluation.evaluate import EvaluateRequest, EvaluationReport, evaluate_bundle
    from .pipeline import export_bundle
    from .request import ExportRequest
    from .training.run import Training, TrainRequest, train_model

_HOME = {
    "CompareRequest": ".comparison.open_forms",
    "Comparison": ".comparison.compare",
    "Dataset": ".data.dataset",
    "EvaluateRequest": ".evaluation.evaluate",
    "EvaluationReport": ".evaluation.evaluate",
    "ExportRequest": ".request",
    "Progress": "..calibration.progress",
    "Split": ".data.dataset",
    "TrainRequest": ".training.run",
    "Training": ".training.run",
    "Uint8Request": "..calibration.passes.uint8_request",
    "array_dataset": ".data.arrays",
    "compare_models": ".comparison.open_forms",
    "evaluate_bundle": ".evaluation.evaluate",
    "export_bundle": ".pipeline",
    "train_model": ".training.run",
}

__all__ = [
    "CompareRequest",
    "Comparison",
    "Dataset",
    "EvaluateRequest",
    "EvaluationReport",
    "ExportRequest",
    "Progress",
    "Split",
    "TrainRequest",
    "Training",
    "Uint8Request",
    "array_dataset",
    "compare_models",
    "evaluate_bundle",
    "export_bundle",
    "train_model",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module, once (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value
