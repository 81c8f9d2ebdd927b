"""The registry as a table: for people, and as plain values for machines."""

from __future__ import annotations

from typing import Any

from ..models import flops
from ..models.spec import InputShape, ModelSpec, Option
from . import registry
from . import torchvision as from_torchvision

HEADER = ("name", "parameters", "multiply-adds", "input", "data", "paper")
NUMBERS = ("parameters", "multiply-adds")
MEGA = 1_000_000


def as_data() -> dict[str, Any]:
    """The registry's models by name, and the names of torchvision's."""
    return {
        "registry": {name: _entry(spec) for name, spec in registry.SPECS.items()},
        "torchvision": from_torchvision.names(),
    }


def as_text() -> str:
    """A line a model, the options that there are, and what else `export` takes."""
    specs = registry.SPECS.values()
    rows = [HEADER, *(_row(spec) for spec in specs)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    rows.insert(1, tuple("-" * width for width in widths))
    table = ["  ".join(map(_align, HEADER, row, widths)).rstrip() for row in rows]
    options = [f"  {spec.name}: {_options(spec)}" for spec in specs if spec.options]
    aliases = [f"  {alias} is {name}" for alias, name in registry.ALIASES.items()]
    others = ", ".join(name for name in from_torchvision.names() if name not in registry.SPECS)
    return "\n".join(
        [
            *table,
            "\nthe sizes are those of the first input, for as many classes as the published network has",
            "\noptions (--set NAME=VALUE):",
            *options,
            "\nother names:",
            *aliases,
            f"\nand torchvision's: {others}",
            "and your own: package.module:factory or file.py:factory",
        ]
    )


def _entry(spec: ModelSpec) -> dict[str, Any]:
    size = flops.of_variant(spec.standard, spec.classes)
    return {
        "source": spec.source,
        "input": spec.standard.input_shape,
        "small_input": spec.small.input_shape if spec.small else None,
        "aliases": [alias for alias, name in registry.ALIASES.items() if name == spec.name],
        "parameters": size.parameters,
        "multiply_adds": size.multiply_adds,
        "classes": spec.classes,
        "data": spec.data,
        "options": {name: _option(option) for name, option in spec.options.items()},
    }


def _option(option: Option) -> dict[str, Any]:
    return {"default": option.default, "allowed": option.allowed, "about": option.about}


def _row(spec: ModelSpec) -> tuple[str, ...]:
    size = flops.of_variant(spec.standard, spec.classes)
    inputs = [variant.input_shape for variant in (spec.standard, spec.small) if variant]
    return (
        spec.name,
        _rounded(size.parameters),
        _rounded(size.multiply_adds),
        " or ".join(map(_shape, inputs)),
        ", ".join(spec.data),
        spec.source,
    )


def _options(spec: ModelSpec) -> str:
    return "; ".join(
        f"{name}={'|'.join(str(v).lower() for v in option.allowed or ()) or type(option.default).__name__}"
        for name, option in spec.options.items()
    )


def _rounded(count: int) -> str:
    if count < MEGA:
        return f"{count / 1000:.0f} k"
    return f"{count / MEGA:.2f} M" if count < 10 * MEGA else f"{count / MEGA:,.0f} M"


def _shape(shape: InputShape) -> str:
    return "x".join(map(str, shape))


def _align(column: str, cell: str, width: int) -> str:
    return cell.rjust(width) if column in NUMBERS else cell.ljust(width)
