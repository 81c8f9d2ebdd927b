"""Write docs/api.md: the public names of the floors with their docstrings, and an example for each floor.

python docs/api.py
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
FLOORS = ("export", "calibration", "runtime")
HEAD = """# Python API

Written by `make docs` from the docstrings. What is not listed here is private, and may change without notice.
Everything that edgeproof raises on purpose is an `EdgeproofError`. Nothing is printed unless it is asked for.
The examples run one after another in the same folder, and a test runs them.
"""
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
WIDTH = 100


def main() -> None:
    """Write the document."""
    (DOCS / "api.md").write_text(api(), encoding="utf-8")


class Verbatim(str):
    """An annotation that shows as it is written in the source."""

    __slots__ = ()
    __repr__ = str.__str__


def api() -> str:
    """All floors that name what is public."""
    modules = [importlib.import_module(f"edgeproof.{floor}") for floor in FLOORS]
    return "\n".join([HEAD, *(floor_text(module) for module in modules if getattr(module, "__all__", ()))])


def floor_text(module: object) -> str:
    """A floor: what it is for, its example, and its public names."""
    title = module.__name__
    example = DOCS / "examples" / f"{title.rpartition('.')[2]}.py"
    parts = [f"## {title}\n", markdown(inspect.getdoc(module))]
    if example.is_file():
        parts.append(f"```python\n{example.read_text(encoding='utf-8').strip()}\n```\n")
    return "\n".join([*parts, *(entry(name, getattr(module, name)) for name in module.__all__)])


def entry(name: str, value: Callable[..., object]) -> str:
    """A class or function: its signature, its docstring, and a class's public members."""
    lines = [f"### {name}\n", block(name, value), markdown(inspect.getdoc(value))]
    for member, found in members(value) if inspect.isclass(value) else ():
        if isinstance(found, property):
            lines.append(f"**`{name}.{member}`** {markdown(inspect.getdoc(found))}")
        else:
            lines += [block(f"{name}.{member}", found), markdown(inspect.getdoc(found))]
    return "\n".join(lines)


def members(kind: type) -> Iterator[tuple[str, object]]:
    """Public methods and properties that a class or a base of edgeproof's own defines, in their order."""
    seen: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("edgeproof."):
            seen |= vars(base)
    for name, value in seen.items():
        method = inspect.isfunction(value) or isinstance(value, (classmethod, staticmethod, property))
        if method and not name.startswith("_"):
            yield name, value if isinstance(value, property) else getattr(kind, name)


def block(name: str, value: Callable[..., object]) -> str:
    """The signature as Python."""
    found = inspect.signature(value)
    parameters = [
        p.replace(annotation=verbatim(p.annotation), default=named(p.default))
        for p in found.parameters.values()
    ]
    if parameters and parameters[0].name == "self":
        del parameters[0]
    result = inspect.Signature.empty if inspect.isclass(value) else verbatim(found.return_annotation)
    text = f"{name}{found.replace(parameters=parameters, return_annotation=result)}"
    if len(text) > WIDTH:
        shown = [str(part) for part in inspect.Signature(parameters).parameters.values()]
        keyword = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
        if keyword is not None and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
            shown.insert(keyword, "*")
        end = "" if result is inspect.Signature.empty else f" -> {result}"
        text = f"{name}(\n" + "".join(f"    {part},\n" for part in shown) + f"){end}"
    return f"```python\n{text}\n```\n"


def verbatim(annotation: object) -> object:
    """An annotation without the quotes that `from __future__ import annotations` leaves around it."""
    return Verbatim(annotation) if isinstance(annotation, str) else annotation


def named(default: object) -> object:
    """A default value; a function by its name, since its repr is another in each process."""
    return Verbatim(default.__name__) if inspect.isfunction(default) else default


def markdown(docstring: str | None) -> str:
    """A docstring whose sections (Args, Raises, ...) are lists."""
    lines: list[str] = []
    listed = False
    for line in (docstring or "").splitlines():
        heading = SECTION.fullmatch(line)
        if heading:
            listed = True
            lines += [f"{heading[1]}:", ""]
        elif listed and re.match(r"    \S", line):
            name, colon, rest = line.strip().partition(": ")
            lines.append(f"- `{name}`: {rest}" if colon else f"- {line.strip()}")
        elif listed and line.startswith("     "):
            lines.append("  " + line.strip())
        else:
            listed = listed and not line
            lines.append(line)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
