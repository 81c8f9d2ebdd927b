"""A report in a real browser: no error, no request, nothing too wide."""

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest

from edgeproof.export import ExportRequest, export_bundle

pytestmark = pytest.mark.browser
BROWSER = "chromium"
WIDTHS = (360, 1280)
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync")
INSIDE = ("file:", "data:", "chrome", "about:", "devtools:")
ITS_MAKER = re.compile(r"https?://([a-z0-9-]+\.)*(google|googleapis|gstatic|gvt1)\.com")  # asked for any page
PROBE = """<script>
const page = document.documentElement;
for (const each of document.querySelectorAll("details")) each.open = true;
const wide = [...document.querySelectorAll("body *")].filter(each =>
  !each.closest(".wide") && !each.closest("svg") && each.getBoundingClientRect().right > innerWidth + 1);
const told = wide.map(each => each.outerHTML.slice(0, 80));
parent.document.documentElement.dataset.found = JSON.stringify([innerWidth, page.scrollWidth, told]);
</script>"""


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Path:
    """The report of a small export."""
    folder = tmp_path_factory.mktemp("browser") / "lenet"
    return export_bundle(ExportRequest("lenet", weights="random", out=folder)).folder / "report.html"


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page in a headless browser with a fresh profile."""
    if shutil.which(BROWSER) is None:
        pytest.fail(f"There is no {BROWSER} on this machine: sudo apt-get install chromium")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,2000"]
    command += [*QUIET, f"--user-data-dir={page.parent.parent / 'profile'}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(page, tmp_path, width):
    """A script in a copy of the page asks, in a frame, for windows have a least width."""
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page.read_text(encoding="utf-8"))
    copy = escape(text.replace("</body>", f"{PROBE}</body>"))
    probed = tmp_path / "copy" / "probed.html"
    probed.parent.mkdir()
    frame = f'<iframe style="width: {width}px; height: 2000px; border: 0" srcdoc="{copy}"></iframe>'
    probed.write_text(f"<!DOCTYPE html>{frame}", encoding="utf-8")

    dumped = browse(probed, "--dump-dom").stdout
    found = re.search(r'data-found="([^"]*)"', dumped)
    assert found, "the probe did not run"
    inner, scrolled, wide = json.loads(unescape(found[1]))
    assert inner == width
    assert scrolled <= width, wide


def test_there_is_no_error_and_no_request_leaves(page, tmp_path):
    log = tmp_path / "net.json"
    shot = tmp_path / "shot.png"
    done = browse(page, "--enable-logging=stderr", f"--log-net-log={log}", f"--screenshot={shot}")
    assert shot.stat().st_size > 0
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    asked = set(re.findall(r'"url":"([a-z-]+:[^"]{0,200})', log.read_text(encoding="utf-8")))
    assert not {url for url in asked if not url.startswith(INSIDE) and not ITS_MAKER.match(url)}
