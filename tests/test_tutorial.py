"""The tutorial: each of its commands works, and what it says of files is true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgeproof.export.data import catalog
from edgeproof.runtime import Bundle
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.records import decode

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def tutorial(script):
    return script("docs/tutorial/run.py")


def test_each_preprocessing_can_be_read(tutorial):
    rows = re.findall(r"^\| .* \| `(\{.*\})` \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert len(rows) >= 6
    found = [decode(Preprocess, json.loads(row)) for row in rows]
    assert {each.color for each in found} == {"rgb", "bgr", "gray"}
    assert [each.letterbox for each in found if each.letterbox is not None] == [114]
    decode(Preprocess, json.loads(tutorial.preprocessing()))


def test_the_class_index_can_be_read(tmp_path, fill):
    index = json.loads(re.search(r"```json\n(\{\"arrow\".*?)```", DOCUMENT.read_text(), re.DOTALL)[1])
    fill(tmp_path, sorted(index))
    (tmp_path / "class_index.json").write_text(json.dumps(index))
    assert catalog.find(f"imagefolder:{tmp_path}").labels == tuple(index)


@pytest.fixture
def fill():
    from PIL import Image

    def make(folder: Path, names: list[str]) -> None:
        for name in names:
            (folder / name).mkdir()
            for number in range(4):
                Image.new("RGB", (8, 8)).save(folder / name / f"{number}.png")

    return make


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_command_works(tutorial, tmp_path):
    tutorial.run(tmp_path / "hour")
    bundle = Bundle.open(tmp_path / "hour" / "shapes_bundle")
    assert bundle.manifest.models["fp32"].accuracy.value >= 90
    assert all((tmp_path / "hour" / name).is_file() for name in tutorial.PICTURES)
    assert list((tmp_path / "hour" / "labelled").iterdir())
