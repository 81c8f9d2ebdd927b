"""An evaluation as text for people, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...runtime.columns import columns
from ...runtime.files import publish_file
from ...runtime.tasks.figures import Figures
from .evaluate import EvaluationReport, PrecisionFigures

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLASSES_IN_TEXT, CONFUSIONS_IN_TEXT, CLASSES_IN_PLOT = 30, 5, 40
PANEL_INCHES, DOTS_PER_INCH = 5.0, 120


def text(report: EvaluationReport) -> str:
    """A table of the models, one of the classes, and what is taken for what."""
    known = report.precisions
    metric = known[report.reference].accuracy.metric
    head = ("model", "on", f"{metric} %", "drop", "95 % interval", "McNemar p", "calibration error %")
    rows = [_row(name, each, paired=name != report.reference) for name, each in known.items()]
    lines = [f"{report.bundle} on {report.data}, {report.samples} samples", *table(head, rows)]
    lines += [f"{name} left out: {why}" for name, why in report.left_out.items()]
    for name, each in known.items():
        details = {**each.accuracy.details, **each.figures.details}
        if details:
            lines.append(f"{name}: " + ", ".join(f"{what} {value:.2f} %" for what, value in details.items()))
    lines += ["", *_classes(report)]
    for name, each in known.items():
        wrong = [pair for pair in each.figures.confusions if pair.truth != pair.answer][:CONFUSIONS_IN_TEXT]
        if wrong:
            pairs = ", ".join(f"{pair.truth} as {pair.answer} ({pair.count})" for pair in wrong)
            lines.append(f"{name} takes most often {pairs}")
    return "\n".join(lines)


def plot(report: EvaluationReport, path: Path) -> None:
    """Draw, for each model, its confusions or its curves of precision over recall, and its calibration.

    Raises:
        OutputError: the place cannot be written.
    """
    from matplotlib.figure import Figure  # its own canvas, no window: nothing global is touched

    rows = len(report.precisions)
    figure = Figure((2 * PANEL_INCHES, rows * PANEL_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(f"{report.bundle} on {report.data}", parse_math=False)
    panels = figure.subplots(rows, 2, squeeze=False)
    for (left, right), (name, each) in zip(panels, report.precisions.items(), strict=True):
        if each.figures.curves:
            _draw_curves(left, each.figures)
        else:
            _draw_confusions(left, each.figures)
        _draw_calibration(right, each.figures)
        for axes in (left, right):
            axes.set_title(f"{name}: {axes.get_title()}", parse_math=False)
    with publish_file(path) as draft:
        figure.savefig(draft, format="png")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of columns as wide as their widest cells; a column in which nothing stands is left out."""
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    return columns([[line[i] or "-" for i in kept] for line in (head, *rows)])


def _row(name: str, each: PrecisionFigures, *, paired: bool) -> tuple[str, ...]:
    accuracy, error = each.accuracy, each.figures.calibration_error
    low, high = accuracy.ci95
    return (
        name,
        each.provider,
        f"{accuracy.value:.2f}",
        f"{accuracy.drop:+.2f}" if paired else "",
        f"{low:+.2f} .. {high:+.2f}" if paired else "",
        f"{each.mcnemar:.3g}" if paired and each.mcnemar is not None else "",
        "" if error is None else f"{error:.2f}",
    )


def _classes(report: EvaluationReport) -> list[str]:
    """The worst classes of the last model, with the value that each model has of them."""
    by_model = {
        name: {figures.label: figures for figures in each.figures.by_class}
        for name, each in report.precisions.items()
    }
    name, last = list(by_model.items())[-1]
    order = sorted(last.values(), key=lambda figures: (figures.value is None, figures.value))
    head = ("class", "truths", *(f"{each} %" for each in by_model), f"{name} precision %", f"{name} recall %")
    rows = [
        (
            each.label,
            str(each.truths),
            *(
                _percent(known[each.label].value) if each.label in known else ""
                for known in by_model.values()
            ),
            _percent(each.precision),
            _percent(each.recall),
        )
        for each in order[:CLASSES_IN_TEXT]
    ]
    left = len(order) - len(rows)
    more = [f"{left} more classes, all better: --json has them"] if left else []
    return table(head, rows) + more


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _draw_curves(axes: Axes, figures: Figures) -> None:
    for curve in figures.curves[:CLASSES_IN_PLOT]:
        axes.plot(curve.recall, curve.precision, label=curve.label)
    axes.set(title="precision over recall", xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _draw_confusions(axes: Axes, figures: Figures) -> None:
    labels = [each.label for each in figures.by_class][:CLASSES_IN_PLOT]
    shares = np.zeros((len(labels), len(labels)))
    for pair in figures.confusions:
        if pair.truth in labels and pair.answer in labels:
            shares[labels.index(pair.truth), labels.index(pair.answer)] = pair.count
    shares /= np.maximum(1, shares.sum(axis=1, keepdims=True))
    axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    axes.set(title="share of each class's truths", xlabel="answer", ylabel="truth")
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize="small", parse_math=False)
    axes.set_yticks(range(len(labels)), labels, fontsize="small", parse_math=False)


def _draw_calibration(axes: Axes, figures: Figures) -> None:
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    axes.plot([each.confidence for each in figures.bins], [each.right for each in figures.bins], marker="o")
    axes.set(
        title="calibration", xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1.02)
    )
    axes.grid(alpha=0.3)
