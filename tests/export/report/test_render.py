"""The page that shows a bundle's proof."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from edgeproof.export.cli import build_app
from edgeproof.export.report.render import render
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.manifest import FileEntry, parse_manifest
from edgeproof.runtime.files import sha256_bytes


class Page(HTMLParser):
    """Tags with their attributes, and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def page(tiny_bundle):
    return Page(render(tiny_bundle))


@pytest.fixture
def changed(tiny_bundle, tmp_path):
    """The bundle with another manifest; `measured` is its evidence.json, None for no such file."""

    def change(measured: bytes | None = tiny_bundle.evidence_bytes(), **fields):
        folder = tmp_path / "changed"
        shutil.copytree(tiny_bundle.folder, folder)
        for name in ("report.html", "evidence.json"):
            (folder / name).unlink()
        evidence = None
        if measured is not None:
            (folder / "evidence.json").write_bytes(measured)
            evidence = FileEntry("evidence.json", sha256_bytes(measured), len(measured))
        manifest = replace(tiny_bundle.manifest, report=None, evidence=evidence, **fields)
        (folder / "manifest.json").write_text(manifest.to_json(), encoding="utf-8")
        return Bundle.open(folder)

    return change


def test_the_verdict_comes_first(page, tiny_bundle):
    verdict = tiny_bundle.manifest.verdict
    assert page.text.index(f"Ship {verdict.ship}") < page.text.index("Precisions")
    assert verdict.why in page.text


def test_it_shows_every_model_with_its_hash_parity_and_metric(page, tiny_bundle):
    for name, entry in tiny_bundle.manifest.models.items():
        assert entry.sha256 in page.text
        assert f"{entry.accuracy.value:.2f} %" in page.text
        assert name in page.text
    assert {"Parity", "Lineage", "Error by depth", "Activations", "Weights", "NVIDIA's compiler"} <= {
        line.strip() for line in page.text.splitlines()
    }


def test_each_picture_is_answered_by_each_precision(page, tiny_bundle):
    shown = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    wanted = [
        f"{picture.file} as {name} answers it"
        for picture in tiny_bundle.manifest.pictures
        for name in tiny_bundle.manifest.models
    ]
    assert shown == wanted


def test_it_loads_nothing_and_runs_nothing(page):
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name, "data:")
            assert value.startswith(("data:", "#")), (tag, value)


def test_what_a_bundle_says_of_itself_is_text(changed):
    hostile = "<script>alert(1)</script>"
    text = render(changed(name=hostile, architecture=hostile))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_what_a_manifest_leaves_open_is_left_open(changed):
    text = Page(render(changed(data={}, lineage=({},), toolchain={}, weights={}))).text
    assert "unknown, SHA-256 unknown" in text


def test_the_same_bundle_gives_the_same_page(tiny_bundle):
    assert render(tiny_bundle) == render(tiny_bundle)


def test_the_export_wrote_the_page_of_its_own_bundle(tiny_bundle, changed):
    written = (tiny_bundle.folder / "report.html").read_text(encoding="utf-8")
    assert written == render(tiny_bundle)
    assert render(changed()) == written
    assert "report.html" in tiny_bundle.manifest.files()


def test_without_evidence_the_rest_is_shown(changed):
    text = Page(render(changed(None))).text
    assert "Precisions" in text
    assert "Activations" not in text


def test_charts_take_the_colours_of_the_page(tiny_bundle):
    text = render(tiny_bundle)
    assert text.count("<svg") >= 2
    assert "currentColor" in text
    assert "#010203" not in text
    assert not re.search(r"<dc:date>", text)


def test_the_command_writes_beside_the_bundle_and_never_into_it(tiny_bundle, tmp_path):
    folder = tmp_path / "tiny"
    shutil.copytree(tiny_bundle.folder, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    done = CliRunner().invoke(build_app(), ["report", str(folder)])
    refused = CliRunner().invoke(build_app(), ["report", str(folder), "--out", str(folder / "report.html")])

    assert done.exit_code == 0
    assert "Ship" in (tmp_path / "tiny.html").read_text(encoding="utf-8")
    assert refused.exit_code != 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert parse_manifest((folder / "manifest.json").read_text(encoding="utf-8")).report is not None


def test_evidence_of_an_older_schema_is_left_out(changed):
    assert "Activations" not in Page(render(changed(json.dumps({"schema": 1, "curve": None}).encode()))).text


def test_the_error_by_depth_is_a_share(tiny_bundle):
    evidence = json.loads(tiny_bundle.evidence_bytes())
    assert set(evidence["depth"]) == {"fp16", "int8"}
    errors = [error["relative"] for found in evidence["depth"].values() for error in found]
    assert errors
    assert all(0 <= error < 0.2 for error in errors)
