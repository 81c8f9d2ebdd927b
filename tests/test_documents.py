"""Documents keep up with the program, and every command in the README works."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from PIL import Image

from edgeproof.export.data import catalog

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line for block in re.findall(r"```console\n(.*?)```", README, re.DOTALL) for line in block.splitlines()
]


@pytest.fixture(scope="module")
def generate(script):
    return script("docs/generate.py")


def test_the_python_api_in_the_documents_is_the_programs_own(script):
    assert (ROOT / "docs" / "api.md").read_text() == script("docs/api.py").api(), "run `make docs`"


def test_the_examples_of_the_python_api_run(script, tmp_path):
    """In the document's order, in one folder: what the first makes, the next ones read."""
    api = script("docs/api.py")
    examples = [path for floor in api.FLOORS if (path := api.DOCS / "examples" / f"{floor}.py").is_file()]
    assert {path.stem for path in examples} == {"export", "calibration", "runtime"}
    for path in examples:
        done = subprocess.run([sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), path.name


def test_the_files_that_the_document_on_quantization_names_are_there():
    document = (ROOT / "docs" / "quantization.md").read_text()
    named = set(re.findall(r"`([a-z0-9_/]+\.py)`", document))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / "calibration" / name).is_file()] == []


def test_the_help_in_the_documents_is_the_programs_own(generate):
    assert (ROOT / "docs" / "commands.md").read_text() == generate.commands(), "run `make docs`"


def test_the_trainings_in_the_documents_are_those_that_were_made(generate):
    assert (ROOT / "docs" / "training.md").read_text() == generate.training(), "run `make docs`"


def test_every_command_is_in_the_documents(generate, edgeproof):
    listed = re.findall(r"^  (\w+)  ", edgeproof("--help", env={"COLUMNS": "100"}).stdout, re.MULTILINE)
    assert listed
    assert set(listed) == set(generate.COMMANDS)


def test_the_readme_shows_a_bundle_that_was_really_made():
    table = re.search(r"```text\n(mobilenet_v3 .*?)```", README, re.DOTALL)[1]
    assert re.search(r"fp32 +ok", table)
    assert re.search(r"ship (int8|fp16)", table)


def test_make_help_lists_every_target():
    shown = subprocess.run(["make", "help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split():
        assert f"make {target} " in shown


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_network, wheel) -> Path:
    """A folder with what the README's commands name: a network, its weights, photographs."""
    folder = tmp_path_factory.mktemp("readme")
    source = Path(tiny_network.rpartition(":")[0]).read_text()
    (folder / "my_model.py").write_text(source.replace("def tiny(", "def build("))
    generator = np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(8):
            pixels = generator.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.jpg")
    (folder / "imagenet-val" / "n01440764").mkdir(parents=True)
    for i in range(6):
        Image.new("RGB", (300, 300)).save(folder / "imagenet-val" / "n01440764" / f"{i}.jpg")
    index = {f"n{i:08d}": i for i in range(1, 1000)} | {"n01440764": 0}
    (folder / "imagenet-val" / "class_index.json").write_text(json.dumps(index))
    Image.fromarray((np.eye(8) * 255).astype(np.uint8)).save(folder / "picture.png")
    namespace: dict = {}
    exec(compile(source, "my_model.py", "exec"), namespace)  # noqa: S102 - the test's own text
    torch.save(namespace["tiny"](3).state_dict(), folder / "my_weights.pth")
    shutil.copy(wheel, folder)
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "private.pem").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return folder


@pytest.mark.slow
def test_every_command_of_the_readme_works(place):
    """In the README's order, as typed; only what cannot run inside a test is checked in another way."""
    environment = {**os.environ, "TORCH_HOME": str(place / "torch")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment |= {
        "OUT": str(place / "mobilenet_v3"),
        "DIST": str(place / "dist"),
    }  # the checkout is left alone
    no_index = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_TARGET": str(place / "installed")}
    for command in COMMANDS:
        words = shlex.split(command)
        expected = {0}
        if (
            words[0] == "make"
        ):  # with the environment that runs this test, even where a fresh one would be made
            words[1:1] = [f"VENV={sys.prefix}", f"--assume-old={sys.prefix}/.ready"]
        if words[-1] == "test":
            words.insert(1, "--dry-run")  # this is that very run
        if words[:2] == ["edgeproof", "quantize"]:
            provide_model(place)
        if "imagenet" in words:
            expected = {0, 2}  # without a network the weights cannot be had, and the message says so
        settings = {**environment, **(no_index if words[0] == "pip" else {})}
        words = [f"SOURCE={place / 'picture.png'}" if word.startswith("SOURCE=") else word for word in words]
        done = subprocess.run(
            words, capture_output=True, text=True, env=settings, cwd=ROOT if words[0] == "make" else place
        )
        assert done.returncode in expected, f"{command}\n{done.stdout}{done.stderr}"
        if done.returncode == 2:
            assert "put it into" in done.stderr
        check_output(command, done.stdout)


def provide_model(place: Path) -> None:
    """An ONNX model and preprocessed inputs, as a user may have them: those of the first command's bundle."""
    shutil.copy(place / "mobilenet_v3" / "model.fp32.onnx", place / "model.onnx")
    digits = catalog.find("digits")
    np.savez(place / "inputs.npz", digits.calibration.tensor(digits.preprocess((3, 32, 32))))


def check_output(command: str, output: str) -> None:
    if command.startswith("make export"):
        assert re.search(r"fp32 +ok", output)
        assert float(re.search(r"fp32.*?% +([\d.]+)", output)[1]) >= 95
    if command.startswith("make run"):
        records = [line for line in output.splitlines() if line.startswith("{")]
        assert json.loads(records[0])["top"][0]["label"] in "0123456789"
    if command.startswith("edgeproof run"):
        records = [json.loads(line) for line in output.splitlines()]
        assert [Path(record["source"]).name for record in records] == [f"{i}.jpg" for i in range(8)]
        assert all(record["top"][0]["label"] in ("cat", "dog", "eel") for record in records)
    if command.startswith("edgeproof quantize"):
        assert re.search(r"INT8: \d+ of 64 layers", output)
    if command.startswith("edgeproof preflight"):
        assert len(re.findall("accepted by tensorrt-rtx", output)) == 3
    if command.startswith("edgeproof verify"):
        assert "fp32: ok" in output


def test_the_readme_has_commands():
    assert "make export MODEL=mobilenet_v3" in COMMANDS
    assert "make test" in COMMANDS
