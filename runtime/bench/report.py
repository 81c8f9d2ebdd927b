"""Measurements as a table for people, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..columns import columns
from ..errors import InputError, MissingDependency
from ..files import publish_file
from .bench import BenchmarkReport
from .measurement import Measurement

FIGURE_INCHES = (11, 4.5)
DOTS_PER_INCH = 120
PERCENTILES = ("p50", "p90", "p95", "p99", "p99_9")


def text(report: BenchmarkReport) -> str:
    """A line about the machine and a table; a column of which nothing is known is left out."""
    header = (
        f"{report.bundle} on {report.machine}, ONNX Runtime {report.onnxruntime}, "
        f"{report.warm_up:g} s warm-up, {report.duration:g} s each"
    )
    if report.power_mode:
        header += f", power mode {report.power_mode.index} ({report.power_mode.name})"
    moving = [clock.name for clock in report.clocks if not clock.fixed]
    if report.power_mode and moving:
        header += f"\nclocks move ({', '.join(moving)}): sudo jetson_clocks makes the figures steady"
    rows = [_row(m) for m in report.measurements]
    kept = [title for title in rows[0] if any(row[title] for row in rows)]
    lines = [[title.split("|")[half] for title in kept] for half in (0, 1)]
    lines += [[row[title] or "-" for title in kept] for row in rows]
    table = columns(lines, heading=2)
    if any(m.fallback for m in report.measurements):
        table.append("* not on the requested provider")
    return "\n".join([header, *table, *_slow_int8(report.measurements)])


def _slow_int8(measurements: Sequence[Measurement]) -> list[str]:
    """A line for each batch at which INT8 labels fewer pictures than a float precision beside it."""
    return [
        f"INT8 is slower than {other.precision} on {own.provider} at batch {own.batch}: {ratio:.2f} times "
        f"its pictures per second; ship {other.precision} for speed"
        for own in measurements
        for other in measurements
        if own.precision == "int8" != other.precision
        and (own.provider, own.batch) == (other.provider, other.batch)
        and (ratio := own.throughput / other.throughput) < 1
    ]


def ensure_can_plot(path: Path) -> None:
    """Refuse, before anything is measured, a picture that could not be drawn.

    Raises:
        InputError: it is not to be a PNG file, or stands for a folder.
        MissingDependency: matplotlib is not installed.
    """
    if path.suffix.lower() != ".png" or path.is_dir():
        raise InputError(f"The plot {path} cannot be drawn.", wanted="a file that ends in .png")
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingDependency("matplotlib", "export", "Drawing a plot") from error


def plot(report: BenchmarkReport, path: Path) -> None:
    """Draw throughput and latency over the batch, a line each, and publish the picture as PNG.

    The latencies' band reaches from the median to the highest percentile that is known.

    Raises:
        OutputError: the place cannot be written.
    """
    from matplotlib.figure import Figure  # its own canvas, no window: nothing global is touched

    figure = Figure(figsize=FIGURE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(f"{report.bundle} on {report.machine}", parse_math=False)
    throughput, latency = figure.subplots(1, 2)
    batches = sorted({m.batch for m in report.measurements})
    for number, line in enumerate(_lines(report)):
        sizes = [m.batch for m in line]
        name = f"{line[0].provider} {line[0].precision}"
        style: dict[str, Any] = {"marker": "o", "color": f"C{number}", "label": name}
        throughput.plot(sizes, [m.throughput for m in line], **style)
        middles = [m.latency.mean if m.latency.p50 is None else m.latency.p50 for m in line]
        latency.plot(sizes, middles, **style)
        latency.fill_between(sizes, middles, [_highest(m) for m in line], color=f"C{number}", alpha=0.15)
    throughput.set(title="Throughput", xlabel="batch", ylabel="pictures per second")
    latency.set(title="Latency, p50 and tail", xlabel="batch", ylabel="milliseconds")
    for axes in (throughput, latency):
        axes.set_xticks(batches)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    with publish_file(path) as draft:
        figure.savefig(draft, format="png")


def _lines(report: BenchmarkReport) -> list[list[Measurement]]:
    """Measurements of the same request, by batch; requests repeat in the same order for each batch."""
    sizes = len({m.batch for m in report.measurements})
    count = len(report.measurements) // sizes
    lines = [list(report.measurements[i::count]) for i in range(count)]
    return [sorted(line, key=lambda m: m.batch) for line in lines]


def _highest(measurement: Measurement) -> float:
    known = [getattr(measurement.latency, name) for name in PERCENTILES]
    return max((value for value in known if value is not None), default=measurement.latency.mean)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _mebibytes(value: int | None) -> str:
    return "" if value is None else f"{value / 2**20:.0f}"


def _row(measurement: Measurement) -> dict[str, str]:
    """Cells by title, whose two lines a bar divides; empty where nothing is known."""
    m = measurement
    return {
        "|provider": m.provider + ("*" if m.fallback else ""),
        "|precision": m.precision,
        "|batch": str(m.batch),
        **{f"{name.replace('_', '.')}|ms": _milliseconds(getattr(m.latency, name)) for name in PERCENTILES},
        "pictures|per s": f"{m.throughput:.1f}",
        "|ratio": f"{m.ratios.throughput:.2f}" if m.ratios else "",
        "preprocess|ms": _milliseconds(m.preprocess_ms),
        "copies|ms": _milliseconds(m.copy_ms),
        "device|ms": _milliseconds(m.device_ms),
        "memory|MiB": _mebibytes(m.session_bytes),
        "GPU|MiB": _mebibytes(m.gpu_bytes),
        "power|W": f"{m.power.mean_watts:.2f}" if m.power else "",
        "energy|mJ": f"{1000 * m.power.joules:.2f}" if m.power else "",
        "|°C": "" if m.celsius is None else f"{m.celsius:.0f}",
    }
