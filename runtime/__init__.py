"""The ground floor: what runs on the device. numpy, Pillow, typer and an onnxruntime; never torch."""

from .bundle import Bundle, Golden
from .errors import EdgeproofError, InputError, ProofError
from .manifest import Manifest
from .parity import Parity, Tolerance, compare
from .preprocess import Preprocess
from .runner import BadFrame, Prediction, Runner, Score
from .session import Session
from .verify import verify

__all__ = [
    "BadFrame",
    "Bundle",
    "EdgeproofError",
    "Golden",
    "InputError",
    "Manifest",
    "Parity",
    "Prediction",
    "Preprocess",
    "ProofError",
    "Runner",
    "Score",
    "Session",
    "Tolerance",
    "compare",
    "verify",
]
