"""A comparison as text for people, and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.bundle.parity import PartError
from ...runtime.files import publish_file
from .compare import Comparison

if TYPE_CHECKING:
    from ...calibration.onnx_graph.depth import DepthError

WORST = 5
FLOOR = 1e-8  # of an error, in a picture of logarithms
FIGURE_INCHES, DOTS_PER_INCH = (8, 4), 120


def text(found: Comparison) -> str:
    """The verdict, every output, and the layers that differ most."""
    parity, limit = found.parity, found.parity.tolerance.relative_l2
    lines = [f"{each.title} ({each.precision} on {each.provider})" for each in (found.first, found.second)]
    lines[1] += f", compared on {found.inputs} inputs"
    lines += map(_part, parity.parts)
    if parity.agreement is not None:
        lines.append(f"  {parity.agreed_on}: {parity.agreement:.2%}")
    if found.unmatched:
        lines.append(f"layers are not compared: {found.unmatched}")
    elif found.worst is not None:
        lines.append(f"{len(found.layers)} layers, on {found.layer_inputs} of the inputs")
        first = "none" if found.first_off is None else _layer(found.first_off)
        lines.append(f"  first above {limit:g}: {first}")
        worst = sorted(found.layers, key=lambda layer: -layer.relative)[:WORST]
        lines += [f"  {'worst' if i == 0 else 'then'}: {_layer(layer)}" for i, layer in enumerate(worst)]
    lines.append("the answers are the same" if found else f"THE ANSWERS DIFFER: {parity.reason}")
    return "\n".join(lines)


def plot(found: Comparison, path: Path) -> None:
    """Draw the error of each layer, from the input on.

    Raises:
        OutputError: the place cannot be written.
    """
    from matplotlib.figure import Figure  # its own canvas, no window: nothing global is touched

    figure = Figure(FIGURE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    errors = [max(layer.relative, FLOOR) for layer in found.layers]
    axes.plot(range(1, len(errors) + 1), errors, marker=".")
    axes.axhline(found.parity.tolerance.relative_l2, color="grey", linestyle=":")
    axes.set_title(f"{found.second.title} against {found.first.title}", parse_math=False)
    axes.set(yscale="log", xlabel="layer, from the input on", ylabel="relative error")
    axes.grid(alpha=0.3)
    with publish_file(path) as draft:
        figure.savefig(draft, format="png")


def _part(part: PartError) -> str:
    if part.relative_l2 == 0:
        return f"  output {part.name}: equal"
    error = "cannot be measured" if part.relative_l2 is None else f"relative error {part.relative_l2:.2e}"
    decibels = "" if part.sqnr_db is None else f", SQNR {part.sqnr_db:.1f} dB"
    largest = "" if part.max_abs is None else f", largest error {part.max_abs:.3g}"
    return f"  output {part.name}: {error}{decibels}{largest}"


def _layer(layer: DepthError) -> str:
    return f"{layer.node} (relative error {layer.relative:.2e})"
