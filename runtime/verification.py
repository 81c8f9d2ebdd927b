"""Does this machine give the answers that PyTorch gave at export?"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from .bundle import Bundle
from .parity import TOLERANCES, Parity, compare_outputs
from .providers import ProviderRequest
from .session import Session, run_batched


@dataclass(frozen=True)
class Replay(Parity):
    """A comparison with PyTorch's answers, and where this machine computed its own.

    Attributes:
        provider: the providers that ran nodes, such as cuda, or tensorrt+cpu.
        fallback: whether that is not what was asked for.
        placement: the same in words, with the nodes that run elsewhere and the providers that were refused.
    """

    provider: str = "cpu"
    fallback: bool = False
    placement: str = ""


def verify(bundle: Bundle, precision: str, provider: ProviderRequest | str = "cpu") -> Replay:
    """Replay the golden inputs, one at a time as on a device, and compare with the golden outputs.

    A float32 model is held to float32: TF32, which a GPU prefers, keeps 11 significant bits of its 24.

    Args:
        bundle: the bundle.
        precision: fp32, fp16 or int8.
        provider: where to run it; a name alone stands for a request with that provider.

    Raises:
        InputError: the bundle does not hold that precision.
        BundleError: the golden file is damaged.
        PlacementError: the provider cannot be used here, or leaves nodes to another.
    """
    request = ProviderRequest(provider) if isinstance(provider, str) else provider
    model = bundle.model_bytes(precision)
    golden = bundle.golden()
    request = replace(request, precision=precision, exact=precision == "fp32")
    with Session(model, provider=request) as session:
        answers = run_batched(session, golden.input, batch=1)
        placement = session.placement
    parity = compare_outputs(golden.outputs, answers, TOLERANCES[precision])
    measured = {field.name: getattr(parity, field.name) for field in fields(parity)}
    return Replay(**measured, provider=placement.label, fallback=placement.fallback, placement=str(placement))
