"""Learning curves as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...runtime.files import publish_file
from .history import Epoch

INCHES = (10, 4)
DOTS_PER_INCH = 120


def draw_curves(epochs: Sequence[Epoch], metric: str, title: str, path: Path) -> None:
    """Draw loss and the metric over the epochs and publish the picture as PNG."""
    from matplotlib.figure import Figure  # its own canvas, no window: nothing global is touched
    from matplotlib.ticker import MaxNLocator

    numbers = [epoch.epoch for epoch in epochs]
    held_out = f"{epochs[-1].held_out} held-out samples"
    figure = Figure(figsize=INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(title, parse_math=False)
    losses, accuracy = figure.subplots(1, 2)
    losses.plot(numbers, [epoch.loss for epoch in epochs], marker=".", label="training")
    losses.plot(numbers, [epoch.held_out_loss for epoch in epochs], marker=".", label=held_out)
    losses.set(title="Loss", xlabel="epoch", ylabel="loss")
    losses.set_ylim(bottom=0)
    losses.legend()
    accuracy.plot(numbers, [epoch.score for epoch in epochs], marker=".", color="C1", label=held_out)
    accuracy.set(title="Accuracy", xlabel="epoch", ylabel=f"{metric} (%)")
    accuracy.legend(loc="lower right")
    for axes in (losses, accuracy):
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    with publish_file(path) as draft:
        figure.savefig(draft, format="png")
