"""Does this machine give the answers that PyTorch gave at export?"""

from __future__ import annotations

from .bundle import Bundle
from .parity import TOLERANCES, Parity, compare_outputs
from .session import Session, run_batched


def verify(bundle: Bundle, precision: str) -> Parity:
    """Replay the golden inputs, one at a time as on a device, and compare with the golden outputs.

    Raises:
        InputError: the bundle does not hold that precision.
        BundleError: the golden file is damaged.
    """
    golden = bundle.golden()
    with Session(bundle.model_bytes(precision)) as session:
        answers = run_batched(session, golden.input, batch=1)
    return compare_outputs(golden.outputs, answers, TOLERANCES[precision])
