import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ON_CPU = ("--provider", "cpu", "--precision", "fp16")


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_refused(done, status=2):
    """One message on stderr, nothing on stdout, no traceback."""
    assert done.returncode == status
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.fixture
def failed_bundle(bundle_folder, replace_file, tiny_model):
    """A bundle, whole, whose fp32 model gives other answers than the golden ones."""
    replace_file(bundle_folder, "model.fp32.onnx", tiny_model(weights=np.eye(3, 4, dtype=np.float32)))
    return bundle_folder


@pytest.fixture
def endless(bundle_folder, paint, tmp_path):
    """`run` at work on so many pictures that it cannot be done before its output is read."""
    picture = paint(tmp_path / "red.png", "red")
    command = [sys.executable, "-m", "edgeproof.export", "run", bundle_folder, *ON_CPU, *[picture] * 3000]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


@pytest.fixture
def waiting(bundle_folder):
    """`run` waiting for paths on its stdin."""
    command = [sys.executable, "-m", "edgeproof.export", "run", bundle_folder, *ON_CPU, "-"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True)
    yield process
    process.kill()
    process.communicate()


# --- run --------------------------------------------------------------------------------------------


def test_run_prints_one_json_object_a_line(edgeproof, bundle_folder, paint, tmp_path):
    paths = [paint(tmp_path / f"{label}.png", label) for label in ("red", "green", "dark")]
    done = edgeproof("run", bundle_folder, *ON_CPU, *paths, "--top", 2)
    assert done.returncode == 0
    assert done.stderr == ""
    results = lines(done)
    assert [result["source"] for result in results] == list(map(str, paths))
    assert [result["top"][0]["label"] for result in results] == ["red", "green", "dark"]
    keys = {"source", "frame", "time", "top", "latency_ms", "provider", "fallback"}
    assert all(set(result) == keys for result in results)
    assert all(len(result["top"]) == 2 for result in results)


@pytest.mark.parametrize("name", ["rotated.jpg", "rotated.png"])
def test_run_tells_of_a_rotation_that_it_does_not_carry_out(edgeproof, bundle_folder, tmp_path, name):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 10), (255, 0, 0)).save(tmp_path / name, exif=exif)
    done = edgeproof("run", bundle_folder, tmp_path / name)
    assert done.returncode == 0
    assert lines(done)[0]["top"][0]["label"] == "red"
    assert "1 of 1 pictures note a rotation" in done.stderr
    assert "exif_transpose" in done.stderr


def test_a_rotated_tiff_is_turned_by_pillow_itself_and_needs_no_word(edgeproof, bundle_folder, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 10), (255, 0, 0)).save(tmp_path / "rotated.tif", exif=exif)
    done = edgeproof("run", bundle_folder, *ON_CPU, tmp_path / "rotated.tif")
    assert lines(done)[0]["top"][0]["label"] == "red"
    assert done.stderr == ""


def test_run_tells_of_a_bad_picture_goes_on_and_exits_2(edgeproof, bundle_folder, paint, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    paint(pictures / "a.png", "red")
    (pictures / "b.jpg").write_text("no picture")
    paint(pictures / "c.png", "blue")
    done = edgeproof("run", bundle_folder, pictures, *ON_CPU)
    assert done.returncode == 2
    first, bad, last = lines(done)
    assert [first["top"][0]["label"], last["top"][0]["label"]] == ["red", "blue"]
    assert set(bad) == {"source", "frame", "time", "error"}
    assert bad["source"] == str(pictures / "b.jpg")
    assert "is not a picture" in bad["error"]
    assert done.stderr == "3 frames: 2 labelled, 1 that could not be read, 0 dropped\n"


def test_run_refuses_a_source_that_is_not_there(edgeproof, bundle_folder, paint, tmp_path):
    done = edgeproof(
        "run", bundle_folder, *ON_CPU, paint(tmp_path / "red.png", "red"), tmp_path / "absent.jpg"
    )
    assert_refused(done)
    assert "There is nothing at" in done.stderr
    assert "absent.jpg" in done.stderr


def test_run_refuses_an_absent_precision_and_names_those_that_are_there(
    edgeproof, bundle_folder, paint, tmp_path
):
    done = edgeproof("run", bundle_folder, paint(tmp_path / "red.png", "red"), "--precision", "int8")
    assert_refused(done)
    assert "fp32, fp16" in done.stderr


def test_run_refuses_what_is_no_bundle(edgeproof, paint, tmp_path):
    done = edgeproof("run", tmp_path / "absent", paint(tmp_path / "red.png", "red"))
    assert_refused(done)
    assert "There is no bundle" in done.stderr


def test_run_refuses_no_classes(edgeproof, bundle_folder):
    done = edgeproof("run", bundle_folder, bundle_folder, "--top", 0)
    assert done.returncode == 2
    assert "--top" in done.stderr


def test_run_leaves_quietly_when_its_reader_has_gone(endless):
    assert json.loads(endless.stdout.readline())["top"][0]["label"] == "red"
    endless.stdout.close()
    assert endless.stderr.read() == ""
    assert endless.wait(timeout=60) == 128 + signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_after_what_is_under_way(endless, number):
    first = endless.stdout.readline()
    endless.send_signal(number)
    stdout, stderr = endless.stdout.read(), endless.stderr.read()
    assert endless.wait(timeout=60) == 128 + number
    given = [json.loads(line) for line in (first + stdout).splitlines()]
    assert 1 <= len(given) < 3000
    assert stderr == f"ended by {number.name}: {len(given)} labelled, 0 that could not be read, 0 dropped\n"


def test_a_signal_ends_a_wait_for_stdin(waiting, paint, tmp_path):
    waiting.stdin.write(f"{paint(tmp_path / 'red.png', 'red')}\n{tmp_path / 'absent.png'}\n")
    waiting.stdin.flush()
    good, bad = json.loads(waiting.stdout.readline()), json.loads(waiting.stdout.readline())
    assert good["top"][0]["label"] == "red"
    assert "does not exist" in bad["error"]
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(timeout=60) == 128 + signal.SIGTERM
    assert waiting.stderr.read() == "ended by SIGTERM: 1 labelled, 1 that could not be read, 0 dropped\n"


def test_paths_on_stdin_are_read_to_their_end(waiting, paint, tmp_path):
    paths = [paint(tmp_path / f"{label}.png", label) for label in ("red", "blue")]
    stdout, stderr = waiting.communicate("\r\n".join(map(str, paths)), timeout=60)
    assert [json.loads(line)["top"][0]["label"] for line in stdout.splitlines()] == ["red", "blue"]
    assert (waiting.returncode, stderr) == (0, "")


def test_run_prints_a_table(edgeproof, bundle_folder, paint, tmp_path):
    (tmp_path / "bad, very.jpg").write_text("no picture")
    paths = [paint(tmp_path / "red.png", "red"), tmp_path / "bad, very.jpg"]
    done = edgeproof("run", bundle_folder, *paths, "--csv", "--top", 2)
    assert done.returncode == 2
    good, bad = csv.DictReader(done.stdout.splitlines())
    assert (good["source"], good["frame"], good["label_1"], good["error"]) == (str(paths[0]), "0", "red", "")
    assert float(good["probability_1"]) >= float(good["probability_2"])
    assert (bad["source"], bad["label_1"]) == (str(paths[1]), "")
    assert "is not a picture" in bad["error"]


def test_run_writes_pictures_with_their_labels(edgeproof, bundle_folder, paint, tmp_path):
    pictures = [paint(tmp_path / f"{label}.png", label, size=(200, 160)) for label in ("red", "blue")]
    done = edgeproof("run", bundle_folder, *ON_CPU, *pictures, "--annotate", tmp_path / "out" / "labelled")
    assert (done.returncode, done.stderr) == (0, "")
    names = sorted(path.name for path in (tmp_path / "out" / "labelled").iterdir())
    assert [name.partition("-")[0] for name in names] == ["blue.png", "red.png"]


def test_run_takes_batches_and_workers(edgeproof, bundle_folder, paint, tmp_path):
    labels = ["red", "green", "blue", "dark"] * 3
    pictures = [paint(tmp_path / f"{label}.png", label) for label in labels]
    done = edgeproof("run", bundle_folder, *ON_CPU, *pictures, "--batch", 4, "--workers", 3, "--threads", 2)
    assert [result["top"][0]["label"] for result in lines(done)] == labels


def test_nothing_may_follow_a_source_that_does_not_end(edgeproof, bundle_folder, paint, tmp_path):
    done = edgeproof("run", bundle_folder, *ON_CPU, "-", paint(tmp_path / "red.png", "red"))
    assert_refused(done)
    assert "- does not end by itself" in done.stderr


# --- verify -----------------------------------------------------------------------------------------


def test_verify_passes_on_every_proven_precision(edgeproof, bundle_folder):
    done = edgeproof("verify", bundle_folder)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["fp32:", "ok"], ["fp16:", "ok"]]


def test_verify_exits_1_when_a_proof_fails_and_gives_numbers(edgeproof, failed_bundle):
    done = edgeproof("verify", failed_bundle, "--provider", "cpu", "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    results = json.loads(done.stdout)
    assert {name: result["passed"] for name, result in results.items()} == {"fp32": False, "fp16": True}
    assert results["fp32"]["relative_l2"] > 0.1
    assert results["fp32"]["samples"] == 6


def test_verify_says_why_in_text(edgeproof, failed_bundle):
    done = edgeproof("verify", failed_bundle, "--precision", "fp32")
    assert done.returncode == 1
    assert done.stdout.startswith("fp32: FAILED")
    assert "is above 0.0001" in done.stdout
    assert len(done.stdout.splitlines()) == 1


def test_verify_of_a_bundle_without_a_proven_model_does_not_pass(edgeproof, bundle_folder, edit_manifest):
    def fail_all(manifest):
        for model in manifest["models"].values():
            model["parity"]["passed"] = False

    edit_manifest(bundle_folder, fail_all)
    assert edgeproof("verify", bundle_folder).returncode != 0


@pytest.mark.parametrize("command", ["verify", "inspect"])
def test_a_changed_file_is_refused(edgeproof, bundle_folder, command):
    path = bundle_folder / "model.fp16.onnx"
    path.write_bytes(path.read_bytes()[::-1])
    done = edgeproof(command, bundle_folder)
    assert_refused(done)
    assert "model.fp16.onnx is not the file that was exported" in done.stderr


# --- inspect ----------------------------------------------------------------------------------------


def test_inspect_prints_the_proofs_for_people(edgeproof, bundle_folder):
    done = edgeproof("inspect", bundle_folder)
    assert done.returncode == 0
    assert done.stdout.startswith("colours (small form")
    assert done.stdout.endswith("ship fp16: it holds the budget\n")


def test_inspect_prints_the_manifest_for_machines(edgeproof, bundle_folder, manifest_json):
    done = edgeproof("inspect", bundle_folder, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == manifest_json


# --- errors -----------------------------------------------------------------------------------------


def test_a_traceback_comes_only_with_debug(edgeproof, tmp_path):
    plain = edgeproof("inspect", tmp_path / "absent")
    assert_refused(plain)
    debug = edgeproof("--debug", "inspect", tmp_path / "absent")
    assert debug.returncode != 0
    assert "Traceback (most recent call last)" in debug.stderr
    assert "BundleError" in debug.stderr


@pytest.mark.parametrize("arguments", [["nonsense"], ["run"], ["verify", "a", "--nonsense"]])
def test_bad_usage_exits_2(edgeproof, arguments):
    done = edgeproof(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_the_commands(edgeproof):
    done = edgeproof("--help")
    assert done.returncode == 0
    for command in ("run", "verify", "inspect"):
        assert command in done.stdout


# --- providers --------------------------------------------------------------------------------------

no_gpu = pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize("provider", ["tensorrt", "cuda"])
@pytest.mark.parametrize("command", ["run", "verify"])
def test_a_provider_that_cannot_be_used_fails(edgeproof, bundle_folder, paint, tmp_path, command, provider):
    sources = [paint(tmp_path / "red.png", "red")] if command == "run" else []
    done = edgeproof(command, bundle_folder, *sources, "--provider", provider)
    assert_refused(done, status=1)
    assert provider in done.stderr
    assert "edgeproof doctor" in done.stderr


@no_gpu
def test_with_fallback_allowed_the_results_say_so(edgeproof, bundle_folder, paint, tmp_path):
    options = ["--provider", "cuda", "--allow-fallback"]
    done = edgeproof("run", bundle_folder, paint(tmp_path / "red.png", "red"), *options)
    assert done.returncode == 0
    assert [(result["provider"], result["fallback"]) for result in lines(done)] == [("cpu", True)]
    assert "provider cpu" in done.stderr
    assert "not cuda: " in done.stderr
    done = edgeproof("verify", bundle_folder, *options)
    assert done.returncode == 0
    assert "on cpu (fallback)" in done.stdout


@no_gpu
def test_auto_says_what_it_chose_and_why(edgeproof, bundle_folder, paint, tmp_path):
    done = edgeproof("run", bundle_folder, paint(tmp_path / "red.png", "red"), "--provider", "auto")
    assert done.returncode == 0
    assert [(result["provider"], result["fallback"]) for result in lines(done)] == [("cpu", False)]
    assert "provider cpu" in done.stderr
    assert "not tensorrt, cuda: " in done.stderr
    assert "precision fp32 (the verdict is fp16; --precision fp16 runs it here)" in done.stderr
    done = edgeproof("verify", bundle_folder, "--provider", "auto")
    assert done.returncode == 0
    assert "fp32, fp16: provider cpu" in done.stderr


@no_gpu
def test_without_tensorrt_nothing_is_built(edgeproof, bundle_folder):
    assert_refused(edgeproof("build", bundle_folder), status=1)
    done = edgeproof("build", bundle_folder, "--provider", "cuda")
    assert_refused(done)
    assert "compiles nothing ahead" in done.stderr


@pytest.mark.parametrize("command", ["run", "verify", "build"])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--provider", "gpu"], "tensorrt, cuda, cpu, auto"),
        (["--provider", "cpu", "--dla", "0"], "cpu does not reach the DLA"),
    ],
)
def test_wishes_that_cannot_be_met_are_refused(edgeproof, bundle_folder, command, options, message):
    sources = ["x.png"] if command == "run" else []
    done = edgeproof(command, bundle_folder, *sources, *options)
    assert_refused(done)
    assert message in done.stderr


def test_run_takes_a_folder_of_class_folders_and_counts_what_is_no_picture(
    edgeproof, bundle_folder, paint, tmp_path
):
    for name in ("dog/1.png", "cat/2.png"):
        (tmp_path / "photos" / name).parent.mkdir(parents=True)
        paint(tmp_path / "photos" / name, "red")
    (tmp_path / "photos" / "cat" / "notes.txt").write_text("notes")
    done = edgeproof("run", bundle_folder, *ON_CPU, tmp_path / "photos")
    sources = [result["source"] for result in lines(done)]
    assert [source.rpartition("photos/")[2] for source in sources] == ["cat/2.png", "dog/1.png"]
    assert done.stderr.count("skipped 1 file(s)") == 1
