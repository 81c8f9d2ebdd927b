"""Charts of a report as SVG text that takes the colours of the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 5.0, 2.8  # inches: 360 pixels, the width of a phone
BAR = 0.22  # inches for each bar of a list
INK = "#010203"  # stands for the page's own colour of text
COLOURS = {"fp16": "#2b8a8a", "int8": "#c0562b", "other": "#8a8a8a"}
INKED = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
MOST_BARS = 15


def depth_chart(depth: Mapping[str, Sequence[float]]) -> str:
    """The relative error of each layer's output, from the input to the outputs, a line for each precision."""

    def draw(axes: Axes) -> None:
        for precision, errors in depth.items():
            shown = [max(error, 1e-7) for error in errors]
            axes.plot(
                range(1, len(shown) + 1), shown, color=COLOURS[precision], label=precision, linewidth=1.5
            )
        axes.set(yscale="log", xlabel="layer, from the input on", ylabel="relative error")
        axes.legend(frameon=False, labelcolor=INK)

    return _svg(draw, HEIGHT)


def curve_chart(points: Sequence[tuple[float, float, bool]]) -> str:
    """Signal over error against cost: (share of the traffic in float, dB, whether it was taken)."""

    def draw(axes: Axes) -> None:
        costs, signals = [100 * cost for cost, _, _ in points], [signal for _, signal, _ in points]
        axes.plot(costs, signals, color=COLOURS["other"], marker="o", linewidth=1)
        taken = [(100 * cost, signal) for cost, signal, chosen in points if chosen]
        axes.plot(
            *zip(*taken, strict=True), color=COLOURS["int8"], marker="o", markersize=9, linestyle="none"
        )
        axes.set(xlabel="of the layers' traffic in float, %", ylabel="SQNR, dB")

    return _svg(draw, HEIGHT)


def bar_chart(bars: Sequence[tuple[str, float]], unit: str) -> str:
    """A horizontal bar for each of the first few names."""
    shown = bars[:MOST_BARS]

    def draw(axes: Axes) -> None:
        positions = range(len(shown))
        axes.barh(positions, [value for _, value in shown], color=COLOURS["int8"])
        axes.set_yticks(positions, [_short(name) for name, _ in shown], parse_math=False)
        axes.invert_yaxis()
        axes.set(xlabel=unit)

    return _svg(draw, 0.8 + BAR * len(shown))


def range_chart(ranges: Sequence[tuple[float, float]]) -> str:
    """From the lowest to the highest value of each activation that INT8 rounds, in the order of the graph."""

    def draw(axes: Axes) -> None:
        positions = range(1, len(ranges) + 1)
        lows, highs = zip(*ranges, strict=True)
        axes.vlines(positions, lows, highs, color=COLOURS["int8"], linewidth=2)
        axes.set(yscale="symlog", xlabel="activation, from the input on", ylabel="range")

    return _svg(draw, HEIGHT)


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _svg(draw: Any, height: float) -> str:
    """What a function draws into axes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "edgeproof",  # else every run writes other names
        "font.size": 9,
        **dict.fromkeys(INKED, INK),
    }
    with rc_context(style):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        draw(axes)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue())


def _inline(svg: str) -> str:
    """The SVG element alone, as wide as the page allows, in the page's colours."""
    element = svg[svg.index("<svg") :].replace(INK, "currentColor")
    element = re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)
    return re.sub(r' (width|height)="[\d.]+pt"', "", element, count=2)
