"""Replaying the golden inputs: this machine must give the answers that PyTorch gave at export."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from ..bundle.bundle import Bundle
from ..bundle.parity import TF32_TOLERANCE, TOLERANCES, Parity, compare_outputs
from ..providers.registry import AUTO, PROVIDERS
from ..providers.request import ProviderRequest, as_request
from ..session.selection import open_session
from ..session.session import run_batched
from .golden_pictures import check_pictures


@dataclass(frozen=True)
class Replay(Parity):
    """A comparison with PyTorch's answers, and where this machine computed its own.

    Attributes:
        precision: of the model that was run.
        provider: the providers that ran nodes, such as cuda, or tensorrt+cpu.
        fallback: whether that is not what was asked for.
        placement: the same in words, with the nodes that run elsewhere and the providers that were refused.
        pictures: how many recorded pictures were decoded, prepared and labelled here. One that became another
            tensor, or got another label, than at export fails the comparison, and `reason` names it.
        exact: of float32 on a GPU, the same once more without TF32, in a process of its own; else None.
    """

    precision: str = "fp32"
    provider: str = "cpu"
    fallback: bool = False
    placement: str = ""
    pictures: int = 0
    exact: Replay | None = None

    def __bool__(self) -> bool:
        return self.passed and (self.exact is None or self.exact.passed)


ReplayExactly = Callable[[Bundle, ProviderRequest], Replay]


def verify(
    bundle: Bundle,
    precision: str | None,
    provider: ProviderRequest | str = AUTO,
    *,
    replay_exactly: ReplayExactly | None = None,
) -> Replay:
    """Replay the golden inputs and pictures of a bundle, one at a time, and compare with PyTorch's answers.

        result = verify(Bundle.open("artifacts/mobilenet_v3"), "fp16", "tensorrt")
        assert result, result.reason

    A GPU multiplies float32 as TF32, which keeps 11 significant bits of 24. There a float32 model is compared
    with a tolerance for TF32, and then once more, without TF32, with that of float32.

    Args:
        bundle: the bundle.
        precision: fp32, fp16 or int8; None for the request's, or the one that suits the provider.
        provider: where to run it; a name alone stands for a request with that provider.
        replay_exactly: does the replay without TF32; None for a process of its own.

    Returns:
        The comparison; its truth value is the verdict.

    Raises:
        InputError: the bundle does not hold that precision.
        BundleError: the golden file is damaged.
        PlacementError: the provider cannot be used here, or leaves nodes to another.
    """
    request = as_request(provider)
    found = replay(bundle, replace(request, precision=precision or request.precision))
    (used, *_) = found.provider.split("+")
    if found.precision != "fp32" or not PROVIDERS[used].uses_tf32:
        return found
    if replay_exactly is None:
        from .exact_replay import replay_in_child as replay_exactly
    exactly = replace(request, precision="fp32", provider=used, exact=True)
    return replace(found, exact=replay_exactly(bundle, exactly))


def replay(bundle: Bundle, request: ProviderRequest) -> Replay:
    """Replay the golden inputs and pictures in this process.

    Args:
        bundle: the bundle.
        request: where and how, in which precision, and whether without TF32.

    Raises:
        EdgeproofError: as `verify` does.
    """
    golden = bundle.golden()
    with open_session(bundle, request) as session:
        answers = run_batched(session, golden.input, batch=1)
        placement, precision = session.placement, session.precision
        tf32 = PROVIDERS[placement.provider].uses_tf32 and not request.exact
        tolerance = TF32_TOLERANCE if tf32 and precision == "fp32" else TOLERANCES[precision]
        checked = check_pictures(bundle, golden, session, tolerance)
    parity = compare_outputs(golden.outputs, answers, tolerance, bundle.task, bundle.manifest.outputs)
    measured = {field.name: getattr(parity, field.name) for field in fields(parity)}
    measured["passed"] = parity.passed and not checked.reason
    measured["reason"] = "; ".join(filter(None, (parity.reason, checked.reason)))
    return Replay(
        **measured,
        precision=precision,
        provider=placement.label,
        fallback=placement.fallback,
        placement=str(placement),
        pictures=checked.pictures,
    )


def replay_line(result: Replay) -> str:
    """One line of text: the verdict, the error, the provider, and why it failed."""
    error = "unknown" if result.relative_l2 is None else f"{result.relative_l2:.2e}"
    where = f"on {result.provider}" + (" (fallback)" if result.fallback else "")
    return f"{'ok' if result.passed else 'FAILED'}  relative error {error}  {where}  {result.reason}".rstrip()
