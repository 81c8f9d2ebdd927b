"""Write docs/messages.md: every error that edgeproof raises on purpose, with what to do about it.

    python docs/messages.py

They are read from the source: what stands in braces is filled in when it happens.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("export", "calibration", "runtime")
HEAD = """# Every message

Written by `make docs` from the source: each error that edgeproof raises on purpose, and what it says to do.
In braces stands what is filled in when it happens. By symptom, with the messages of other programs:
[troubleshooting.md](troubleshooting.md). The exit status is 1 for a proof that failed (`ProofError` and its
kinds), 2 for input that cannot be used.
"""


@dataclass(frozen=True)
class Message:
    """One error: its kind, its text, what to do about it, and the module that raises it."""

    kind: str
    text: str
    todo: str
    module: str


def main() -> None:
    """Write the document."""
    (ROOT / "docs" / "messages.md").write_text(document(), encoding="utf-8")


def document() -> str:
    """All messages as Markdown, a table for each room."""
    rooms: dict[str, list[Message]] = {}
    for message in messages():
        rooms.setdefault(str(Path(message.module).parent), []).append(message)
    parts = [HEAD]
    for room, found in sorted(rooms.items()):
        parts.append(f"## {room}\n\n| message | kind | to do |\n|---|---|---|")
        parts += [f"| {_cell(each.text)} | {each.kind} | {_cell(each.todo)} |" for each in found]
        parts.append("")
    return "\n".join(parts)


def messages() -> Iterator[Message]:
    """Each error that is made anywhere in the three floors, in the order of the files."""
    kinds = error_names()
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            known = constants(tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds:
                    todo = next((word.value for word in node.keywords if word.arg == "todo"), None)
                    if node.args and (text := template(node.args[0], known)):
                        said = template(todo, known) if todo else ""
                        yield Message(node.func.id, text, said, str(path.relative_to(ROOT)))


def constants(tree: ast.Module) -> dict[str, ast.expr]:
    """A module's own constants by name."""
    return {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def error_names() -> set[str]:
    """Names of the classes in runtime/errors.py, but for the dependency's, whose text is its own."""
    tree = ast.parse((ROOT / "runtime" / "errors.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - {"MissingDependency"}


def template(node: ast.expr, known: Mapping[str, ast.expr]) -> str:
    """The text of a string, an f-string or a sum of them; other expressions as their source in braces.

    Args:
        node: the expression.
        known: the module's constants, which are looked up.
    """
    if isinstance(node, ast.Constant):
        return str(node.value) if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(template(value, known) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left, known) + template(node.right, known)
    inner = node.value if isinstance(node, ast.FormattedValue) else node
    if isinstance(inner, ast.Name) and inner.id in known:
        return template(known[inner.id], known) or "{" + inner.id + "}"
    return "{" + ast.unparse(inner) + "}"


def _cell(text: str) -> str:
    plain = re.sub(r"\s+", " ", text).strip()
    return plain.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    main()
