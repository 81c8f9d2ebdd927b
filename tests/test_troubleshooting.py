"""The documents on messages are true: every error is listed, and what is quoted as ours is what we say."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "troubleshooting.md").read_text()


@pytest.fixture(scope="module")
def said() -> str:
    """All text that stands in the three floors' sources, with a gap where something is filled in."""
    texts = []
    for floor in ("export", "calibration", "runtime"):
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.JoinedStr):
                    parts = (each.value if isinstance(each, ast.Constant) else "\0" for each in node.values)
                    texts.append("".join(map(str, parts)))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    return "\n".join(texts)


def test_the_list_of_messages_is_the_programs_own(script):
    module = script("docs/messages.py")
    assert (ROOT / "docs" / "messages.md").read_text() == module.document(), "run `make docs`"
    found = list(module.messages())
    assert len(found) > 200
    assert {each.module.partition("/")[0] for each in found} == {"export", "calibration", "runtime"}


def ours() -> list[str]:
    section = DOCUMENT.partition("## On your computer")[2].partition("\n## ")[0]
    return re.findall(r"^\| (?:a bundle )?`([^`]+)`", section, re.MULTILINE)


@pytest.mark.parametrize("quoted", ours())
def test_what_is_quoted_as_ours_is_what_we_say(said, quoted):
    pieces = [each.strip(" '.") for each in re.split(r"\.\.\.|\d+(?: %)?|'\w+'", quoted)]
    assert pieces
    assert [piece for piece in pieces if len(piece) > 3 and piece not in said] == []


def test_many_symptoms_are_named():
    assert len(ours()) >= 12
    for heading in ("ONNX Runtime", "TensorRT", "JetPack", "How to read a failed parity", "Exit status"):
        assert f"## {heading}\n" in DOCUMENT
