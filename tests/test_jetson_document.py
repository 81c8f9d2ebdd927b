"""docs/jetson.md, as far as it can be checked away from the board."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import tomllib
import typer

from edgeproof.export.cli import build_app
from edgeproof.runtime.device.remedies import JETPACK_LIBRARIES
from edgeproof.runtime.sources.camera import is_camera

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "jetson.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SECTIONS = ("Unit", "Service", "Install")
STAND_IN = """#!/bin/sh
[ "$1" = "$FAILING" ] && { echo "$1 $$" >> "$LOG"; exit "$STATUS"; }
[ "$1" = run ] && trap 'exit 143' TERM
echo "$1 $$" >> "$LOG"
[ "$1" = run ] || exit 0
while :; do sleep 0.05; done
"""
INSTRUCTIONS = {"ARG", "FROM", "RUN", "COPY", "ENV", "VOLUME", "ENTRYPOINT", "CMD"}


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    return [block.replace("\\\n", " ") for block in found]


def unit():
    """Sections of the unit, each a list of (key, value): systemd lets keys repeat."""
    sections, entries = {}, []
    (text,) = blocks("ini")
    for line in filter(None, text.splitlines()):
        if line.startswith("["):
            entries = sections.setdefault(line.strip("[]"), [])
        else:
            key, equals, value = line.partition("=")
            assert equals, line
            entries.append((key, value))
    return sections


def recipe():
    """Instructions of the container's recipe, each (name, rest)."""
    (text,) = blocks("dockerfile")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line]


def steps():
    """The commands of the unit's one process, each with what stands in front of it: `exec` or nothing."""
    shell, flag, script = shlex.split(dict(unit()["Service"])["ExecStart"])
    assert (shell, flag) == ("/bin/sh", "-c")
    for words in map(shlex.split, script.split("&&")):
        place = words.index("/opt/edgeproof/bin/edgeproof")
        yield words[:place], words[place + 1 :]


def edgeproof_commands():
    """Arguments of every edgeproof command: typed, in the unit, or in a container."""
    for block in blocks("sh"):
        for line in block.splitlines():
            words = shlex.split(line)
            if words[:2] in (["docker", "run"], ["nsys", "profile"]) or words[0] == "edgeproof":
                yield words[words.index("edgeproof") + 1 :]
    yield from (arguments for _, arguments in steps())
    yield json.loads(dict(recipe())["CMD"])


COMMANDS = list(edgeproof_commands())


@pytest.fixture(scope="module")
def parse():
    """parse(arguments): the command's parameters as the real program reads them; nothing is run."""
    application = typer.main.get_command(build_app())

    def read(arguments):
        context = application.make_context("edgeproof", list(arguments))
        name, command, rest = application.resolve_command(context, list(arguments))
        return command.make_context(name, rest, parent=context).params

    return read


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_is_one_that_the_program_takes(parse, arguments):
    parse(arguments)


def test_a_command_that_the_program_does_not_take_would_be_found(parse):
    with pytest.raises(Exception, match="No such option"):
        parse(["run", "bundle", "camera:0", "--sideways"])


def test_the_document_shows_every_command_of_the_device():
    assert {arguments[0] for arguments in COMMANDS} >= {"doctor", "build", "verify", "run", "bench"}


def test_every_camera_is_one_that_the_runner_takes(parse):
    sources = [source for words in COMMANDS if words[0] == "run" for source in parse(words)["sources"]]
    cameras = [source for source in sources if source != "photos"]
    assert len(cameras) >= 5
    assert all(map(is_camera, cameras))


def test_every_pipeline_ends_in_the_newest_frame_as_the_converter_gives_it():
    pipelines = [word for words in COMMANDS for word in words if word.startswith("gstreamer:")]
    assert len(pipelines) == 3
    for pipeline in pipelines:
        *_, caps, sink = (element.strip() for element in pipeline.split("!"))
        assert caps in ("video/x-raw,format=BGRx", "video/x-raw,format=NV12")
        assert "videoconvert" not in pipeline
        assert sink.split() == ["appsink", "drop=true", "max-buffers=1", "sync=false"]


def test_the_matrix_is_within_what_the_package_supports():
    rows = re.findall(
        r"^\| ([67][^|]*)\| ([^|]*)\| (3\.\d+) \| ([\d.]+) \| (\d+)\.\w+ \|$", DOCUMENT, re.MULTILINE
    )
    assert [row[0].strip() for row in rows] == ["6.2", "7.0, 7.1", "7.2"]
    supported = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if "Python :: 3." in c}
    assert {python for _, _, python, _, _ in rows} <= supported
    assert {tensorrt for *_, tensorrt in rows} == {"10"}


def test_the_wheel_is_the_one_that_is_made():
    wheels = set(re.findall(r"edgeproof-[\w.-]+?\.whl", DOCUMENT))
    assert wheels == {f"edgeproof-{PROJECT['version']}-py3-none-any.whl"}


def test_the_onnxruntime_to_build_is_the_lowest_that_is_supported():
    branch = re.search(r"--branch v(\d+\.\d+)", DOCUMENT)[1]
    assert f"onnxruntime>={branch}" in PROJECT["optional-dependencies"]["cpu"]


def test_what_is_installed_keeps_jetpacks_own_packages():
    """Every environment sees the system's OpenCV, with a NumPy that it can use, and no extra of ours."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    lines += [rest for name, rest in recipe() if name == "RUN"]
    installs = [line for line in lines if "pip install" in line]
    assert len(installs) == 3
    for line in installs:
        assert '"numpy<2"' in line
        assert "edgeproof[" not in line
    for line in lines:
        if "-m venv" in line and "/opt/edgeproof" in line:
            assert "--system-site-packages" in line
    assert any(needed.startswith("numpy>=1.") for needed in PROJECT["dependencies"])


def test_no_address_of_a_package_index_is_in_the_document():
    assert re.findall(r"(?i)index[-_]url[ =](\S*)", DOCUMENT) == ['"$INDEX"']
    assert set(re.findall(r"https?://([^/\s]+)", DOCUMENT)) == {"github.com"}


def test_packages_are_called_as_doctor_calls_them():
    told = set(re.findall(r"apt install (nvidia-[\w-]+)", " ".join(JETPACK_LIBRARIES.values())))
    named = set(re.findall(r"nvidia-l4t-[\w-]+", DOCUMENT))
    assert named
    assert named <= told


def test_a_build_has_the_cmake_that_it_needs_and_fits_eight_gigabytes():
    (build,) = (line for block in blocks("sh") for line in block.splitlines() if "./build.sh" in line)
    assert "--parallel 2" in build
    assert '"cmake>=3.28,<4"' in DOCUMENT


def test_the_unit_compiles_and_verifies_what_it_runs(parse):
    assert [key for key, _ in unit()["Service"] if key.startswith("Exec")] == ["ExecStart"]
    assert [words[0] for _, words in steps()] == ["build", "verify", "run"]
    assert [before for before, _ in steps()] == [[], [], ["exec"]]
    chosen = [parse(words) for _, words in steps()]
    for name in ("bundle", "provider", "precision", "device", "dla", "workspace"):
        assert len({params[name] for params in chosen}) == 1, (
            f"{name} differs: another engine would be loaded"
        )


def test_the_unit_has_its_sections_and_no_key_twice():
    sections = unit()
    assert tuple(sections) == SECTIONS
    for entries in sections.values():
        assert len({key for key, _ in entries}) == len(entries)


def test_the_unit_keeps_its_engines_where_it_may_write():
    service = dict(unit()["Service"])
    assert service["Environment"] == f"EDGEPROOF_CACHE=/var/cache/{service['CacheDirectory']}"
    assert service["ProtectSystem"] == "strict"


@pytest.fixture
def serve(tmp_path):
    """serve(failing, status): start the unit's process with a stand-in for edgeproof, which keeps a log."""
    program, log = tmp_path / "edgeproof", tmp_path / "log"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    log.touch()
    script = shlex.split(
        dict(unit()["Service"])["ExecStart"].replace("/opt/edgeproof/bin/edgeproof", str(program))
    )

    def start(failing="", status=0):
        environment = {**os.environ, "LOG": str(log), "FAILING": failing, "STATUS": str(status)}
        return subprocess.Popen(script, env=environment), lambda: log.read_text().split("\n")[:-1]

    return start


@pytest.mark.parametrize(
    ("failing", "status", "ran"),
    [("build", 2, ["build"]), ("verify", 1, ["build", "verify"]), ("run", 2, ["build", "verify", "run"])],
)
def test_the_units_main_process_ends_as_the_step_that_fails(serve, failing, status, ran):
    """systemd judges by the main process alone: status 1 is that of RestartPreventExitStatus."""
    process, log = serve(failing, status)
    assert process.wait(timeout=30) == status
    assert [line.split()[0] for line in log()] == ran
    assert dict(unit()["Service"])["RestartPreventExitStatus"] == "1"


def test_the_units_main_process_is_run_itself_and_takes_its_signals(serve):
    process, log = serve()
    deadline = time.monotonic() + 30
    while len(log()) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert log()[-1] == f"run {process.pid}"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    assert "143" in dict(unit()["Service"])["SuccessExitStatus"].split()


def test_systemd_takes_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    (text,) = blocks("ini")
    file = tmp_path / "edgeproof.service"
    file.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if file.name in line]
    assert said == []


def test_the_recipe_is_made_of_known_instructions():
    instructions = recipe()
    assert {name for name, _ in instructions} <= INSTRUCTIONS
    assert [name for name, _ in instructions[:2]] == ["ARG", "FROM"]
    found = dict(instructions)
    assert json.loads(found["ENTRYPOINT"]) == ["/opt/edgeproof/bin/edgeproof"]
    assert found["ENV"] == f"EDGEPROOF_CACHE={found['VOLUME']}"


def test_the_recipes_shell_lines_are_whole():
    for name, rest in recipe():
        if name == "RUN":
            subprocess.run(["bash", "-n", "-c", rest], check=True)
    for block in blocks("sh"):
        subprocess.run(["bash", "-n", "-c", block], check=True)


def test_containers_keep_engines_in_the_recipes_volume():
    cache = dict(recipe())["VOLUME"]
    runs = [line for block in blocks("sh") for line in block.splitlines() if "edgeproof run /bundle" in line]
    assert runs
    assert all(f"--volume edgeproof-cache:{cache} " in line and "--runtime nvidia" in line for line in runs)
