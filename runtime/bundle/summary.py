"""A manifest as text for people."""

from __future__ import annotations

from ..columns import columns
from .manifest import Manifest, ModelEntry
from .parity import Parity

COLUMNS = ("model", "parity", "SQNR dB", "agreement", "{} %", "drop", "95 % interval", "nodes", "KiB")


def summarize(manifest: Manifest) -> str:
    """The bundle's proofs as a table, one line a precision, and its verdict."""
    accuracy = manifest.models["fp32"].accuracy
    header = tuple(column.format(accuracy.metric if accuracy else "top-1") for column in COLUMNS)
    rows = [header, *(_row(name, model) for name, model in manifest.models.items())]
    title = f"{manifest.name} ({manifest.form} form, input {'x'.join(map(str, manifest.input.shape[1:]))})"
    kept = [line for name, model in manifest.models.items() for line in _kept(name, model)]
    made = [] if manifest.target is None else [f"int8 was made for {manifest.target}"]
    verdict = manifest.verdict
    warnings = [f"warning: {warning}" for warning in verdict.warnings]
    return "\n".join(
        [title, *columns(rows, heading=1), *made, *kept, *warnings, f"ship {verdict.ship}: {verdict.why}"]
    )


def _kept(name: str, model: ModelEntry) -> list[str]:
    """A line for each precision in which nodes of a model compute that is not its own."""
    by_precision: dict[str, list[str]] = {}
    for node, precision in model.kept.items():
        by_precision.setdefault(precision, []).append(node)
    return [
        f"{name} keeps {len(nodes)} node(s) in {precision}: {', '.join(nodes[:5])}"
        for precision, nodes in by_precision.items()
    ]


def _decibels(parity: Parity) -> str:
    if parity.sqnr_db is not None:
        return f"{parity.sqnr_db:.1f}"
    return "exact" if parity.relative_l2 == 0 else "-"


def _row(name: str, model: ModelEntry) -> tuple[str, ...]:
    parity, accuracy = model.parity, model.accuracy
    agreement = "-" if parity.agreement is None else f"{parity.agreement:.2%}"
    scores = ("-", "-", "-")
    if accuracy:
        low, high = accuracy.ci95
        scores = (f"{accuracy.value:.2f}", f"{accuracy.drop:+.2f}", f"{low:+.2f} .. {high:+.2f}")
    return (
        name,
        "ok" if parity else "FAILED",
        _decibels(parity),
        agreement,
        *scores,
        str(model.nodes),
        f"{model.bytes / 1024:.0f}",
    )
