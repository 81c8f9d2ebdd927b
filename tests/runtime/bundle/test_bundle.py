import io
import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from edgeproof.runtime.bundle import bundle as bundle_module
from edgeproof.runtime.bundle.bundle import Bundle, is_bundle, output_key
from edgeproof.runtime.bundle.manifest import FileEntry, OutputSpec, PictureEntry
from edgeproof.runtime.errors import BundleError, InputError


def refuse(folder):
    """The message with which a bundle is refused."""
    with pytest.raises(BundleError) as caught:
        Bundle.open(folder)
    assert caught.value.exit_status == 2
    return str(caught.value)


def refuse_golden(folder):
    """The message with which the golden file of a bundle that opens is refused."""
    opened = Bundle.open(folder)
    with pytest.raises(BundleError) as caught:
        opened.golden()
    return str(caught.value)


def rename_model(name):
    def change(manifest):
        manifest["models"]["fp16"]["file"] = name

    return change


# --- a good one -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [str, lambda path: path])
def test_a_good_bundle_opens(bundle_folder, kind):
    opened = Bundle.open(kind(bundle_folder))
    assert opened.folder == bundle_folder
    assert opened.manifest.name == "colours"


def test_model_bytes_are_those_on_disk(bundle):
    for precision in ("fp32", "fp16"):
        assert bundle.model_bytes(precision) == (bundle.folder / f"model.{precision}.onnx").read_bytes()


@pytest.mark.parametrize("precision", ["int8", "fp8", ""])
def test_a_precision_that_is_absent_is_refused_with_those_that_are_there(bundle, precision):
    with pytest.raises(InputError, match=f"holds no {precision} model") as caught:
        bundle.model_bytes(precision)
    assert "fp32, fp16" in str(caught.value)
    assert "--precision" in str(caught.value)


def test_golden_holds_inputs_and_outputs_by_name(bundle):
    golden = bundle.golden()
    assert golden.input.shape == (6, 3, 8, 8)
    assert golden.input.dtype == np.float32
    assert {name: array.shape for name, array in golden.outputs.items()} == {"scores": (6, 4)}


def test_golden_holds_every_output_of_a_network_with_several(write_bundle, replace_file, npz, tmp_path):
    outputs = (OutputSpec("scores", ("batch", 4), "float32"), OutputSpec("a.b", ("batch", 2), "float32"))
    folder = write_bundle(tmp_path / "bundle", outputs=outputs)
    arrays = {"input": np.zeros((2, 1)), "output": np.ones((2, 4)), output_key(1, "a.b"): np.full((2, 2), 2)}
    replace_file(folder, "golden.npz", npz(**arrays))
    golden = Bundle.open(folder).golden()
    assert np.array_equal(golden.outputs["scores"], arrays["output"])
    assert np.array_equal(golden.outputs["a.b"], arrays["output.a.b"])


def test_a_bundle_may_be_reached_through_a_link(bundle_folder, tmp_path):
    (tmp_path / "link").symlink_to(bundle_folder)
    assert Bundle.open(tmp_path / "link").model_bytes("fp32")


# --- the folder and its files -----------------------------------------------------------------------


def test_no_folder(tmp_path):
    message = refuse(tmp_path / "absent")
    assert "There is no bundle" in message
    assert "nothing" in message
    assert "edgeproof export MODEL" in message


def test_a_file_in_place_of_the_folder(bundle_folder):
    assert "a file" in refuse(bundle_folder / "golden.npz")


def test_no_manifest(bundle_folder):
    (bundle_folder / "manifest.json").unlink()
    message = refuse(bundle_folder)
    assert "holds no manifest.json" in message
    assert "golden.npz, model.fp16.onnx, model.fp32.onnx" in message


def test_an_empty_folder(tmp_path):
    assert "an empty folder" in refuse(tmp_path)


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_manifest_that_is_no_file(bundle_folder, kind):
    path = bundle_folder / "manifest.json"
    moved = path.rename(bundle_folder.parent / "moved.json")
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(moved)
    assert "holds no manifest.json" in refuse(bundle_folder)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "model.fp16.onnx", "golden.npz"])
def test_a_missing_file(bundle_folder, name):
    (bundle_folder / name).unlink()
    message = refuse(bundle_folder)
    assert f"lacks {name}" in message
    assert "copy the whole folder again" in message


@pytest.mark.parametrize("name", ["model.fp32.onnx", "model.fp16.onnx", "golden.npz"])
@pytest.mark.parametrize("position", [0, -1])
def test_one_changed_byte(bundle_folder, name, position):
    data = bytearray((bundle_folder / name).read_bytes())
    data[position] ^= 1
    (bundle_folder / name).write_bytes(data)
    message = refuse(bundle_folder)
    assert f"{name} is not the file that was exported" in message
    assert message.count("SHA-256") == 2


@pytest.mark.parametrize("length", [-1, 0, 1])
def test_a_file_of_another_length(bundle_folder, length):
    path = bundle_folder / "model.fp32.onnx"
    data = path.read_bytes()
    path.write_bytes({-1: data[:-1], 0: b"", 1: data + b"\0"}[length])
    message = refuse(bundle_folder)
    assert f"{len(data)} bytes" in message
    assert f"{path.stat().st_size} bytes" in message


@pytest.mark.parametrize("name", ["readme.txt", ".hidden", "model.int8.onnx", "folder"])
def test_something_that_the_manifest_does_not_know(bundle_folder, name):
    if name == "folder":
        (bundle_folder / name).mkdir()
    else:
        (bundle_folder / name).write_bytes(b"")
    message = refuse(bundle_folder)
    assert "files that its manifest does not know" in message
    assert name in message


def test_a_folder_in_place_of_a_model(bundle_folder):
    (bundle_folder / "model.fp32.onnx").unlink()
    (bundle_folder / "model.fp32.onnx").mkdir()
    assert "model.fp32.onnx is not a regular file" in refuse(bundle_folder)


@pytest.mark.parametrize("name", ["model.fp32.onnx", "golden.npz"])
def test_a_link_in_place_of_a_file_though_its_content_is_right(bundle_folder, name):
    moved = (bundle_folder / name).rename(bundle_folder.parent / name)
    (bundle_folder / name).symlink_to(moved)
    assert f"{name} is not a regular file" in refuse(bundle_folder)


def test_a_pipe_in_place_of_a_model_does_not_hang(bundle_folder):
    (bundle_folder / "model.fp32.onnx").unlink()
    os.mkfifo(bundle_folder / "model.fp32.onnx")
    assert "model.fp32.onnx is not a regular file" in refuse(bundle_folder)


@pytest.mark.parametrize(
    "name",
    ["../model.fp16.onnx", "/etc/hostname", "sub/model.onnx", "./model.onnx", "..", ".", "", "a/", "..\\a"],
)
def test_a_name_that_leaves_the_folder(bundle_folder, edit_manifest, name):
    outside = bundle_folder.parent / "model.fp16.onnx"
    (bundle_folder / "model.fp16.onnx").rename(outside)
    edit_manifest(bundle_folder, rename_model(name))
    message = refuse(bundle_folder)
    assert f"The manifest names {name!r}, a path that leaves the bundle" in message
    assert "plain file names" in message


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "\ud800"])
def test_a_name_that_no_file_can_have(bundle_folder, edit_manifest, name):
    (bundle_folder / "model.fp16.onnx").unlink()
    edit_manifest(bundle_folder, rename_model(name))
    refuse(bundle_folder)


def test_a_newer_schema(bundle_folder, edit_manifest):
    edit_manifest(bundle_folder, lambda manifest: manifest.update(schema=3))
    assert "written by a newer edgeproof" in refuse(bundle_folder)


def test_a_manifest_changed_by_hand(bundle_folder):
    path = bundle_folder / "manifest.json"
    path.write_text(path.read_text().replace('"green"', '"mauve"'))
    message = refuse(bundle_folder)
    assert "manifest.json was changed after it was written" in message
    assert message.count("SHA-256") == 2


@pytest.mark.parametrize(
    ("changes", "limit"),
    [
        ({"evidence": FileEntry("evidence.json", "0" * 64, 65 << 20)}, 64 << 20),
        ({"pictures": (PictureEntry("golden-0.png", "0" * 64, 1 << 40, "red"),)}, 4 << 20),
    ],
)
def test_a_file_of_absurd_size_is_refused_before_it_is_read(write_bundle, tmp_path, changes, limit):
    folder = write_bundle(tmp_path / "absurd", **changes)
    for entry in (changes.get("evidence"), *changes.get("pictures", ())):
        if entry is not None:
            with (folder / entry.file).open("wb") as stream:
                stream.truncate(min(entry.bytes, 65 << 20))  # sparse
    message = refuse(folder)
    assert f"{limit} or fewer" in message
    assert "is said to have" in message


def test_a_picture_and_the_evidence_are_held_to_their_hash(write_bundle, tmp_path):
    evidence = FileEntry("evidence.json", "0" * 64, 2)
    folder = write_bundle(tmp_path / "bundle", evidence=evidence)
    (folder / "evidence.json").write_bytes(b"{}")
    assert "evidence.json is not the file that was exported" in refuse(folder)


def test_a_manifest_that_is_not_utf8(bundle_folder):
    (bundle_folder / "manifest.json").write_bytes(b'{"name": "\xff\xfe"}')
    assert "is not UTF-8 text" in refuse(bundle_folder)


def test_a_manifest_too_large_is_not_read(bundle_folder):
    with (bundle_folder / "manifest.json").open("r+b") as stream:
        stream.truncate(bundle_module.MAX_MANIFEST_BYTES + 1)
    assert "no manifest is that large" in refuse(bundle_folder)


# --- after opening ----------------------------------------------------------------------------------


def test_a_model_changed_since_it_was_opened_is_refused(bundle):
    path = bundle.folder / "model.fp32.onnx"
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(BundleError, match=r"model\.fp32\.onnx has changed since the bundle was opened"):
        bundle.model_bytes("fp32")
    assert bundle.model_bytes("fp16")


def test_golden_answers_changed_since_they_were_opened_are_refused(bundle):
    (bundle.folder / "golden.npz").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"golden\.npz has changed since the bundle was opened"):
        bundle.golden()


# --- golden.npz -------------------------------------------------------------------------------------


class Trap:
    """Leaves a mark when it is unpickled."""

    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_the_trap_works():
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301
    assert Trap.sprung
    Trap.sprung = False


def test_pickled_objects_are_refused_and_not_unpickled(bundle_folder, replace_file, npz):
    trap = np.empty(2, dtype=object)
    trap[:] = [Trap(), Trap()]
    replace_file(bundle_folder, "golden.npz", npz(input=trap, output=np.zeros((2, 4))))
    assert "golden.npz cannot be read" in refuse_golden(bundle_folder)
    assert not Trap.sprung


@pytest.mark.parametrize(
    ("arrays", "got"),
    [
        ({}, ""),
        ({"input": 0}, "input"),
        ({"output": 0}, "output"),
        ({"input": 0, "output": 0, "more": 0}, "input, more, output"),
        ({"Input": 0, "output": 0}, "Input, output"),
    ],
)
def test_other_arrays_than_promised_are_refused(bundle_folder, replace_file, npz, arrays, got):
    replace_file(bundle_folder, "golden.npz", npz(**arrays))
    message = refuse_golden(bundle_folder)
    assert "does not hold the promised arrays" in message
    assert "input, output" in message
    assert got in message


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip file", b"\x93NUMPY\x01\x00", pickle.dumps([1])])
def test_golden_answers_that_are_no_zip_file_are_refused(bundle_folder, replace_file, data):
    replace_file(bundle_folder, "golden.npz", data)
    assert "golden.npz cannot be read" in refuse_golden(bundle_folder)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(bundle_folder, replace_file, monkeypatch):
    stream = io.BytesIO()
    np.savez_compressed(stream, input=np.zeros((2, 5000)), output=np.zeros((2, 4)))
    assert len(stream.getvalue()) < 2000
    replace_file(bundle_folder, "golden.npz", stream.getvalue())
    assert Bundle.open(bundle_folder).golden().input.shape == (2, 5000)
    monkeypatch.setattr(bundle_module, "MAX_GOLDEN_BYTES", 50_000)
    message = refuse_golden(bundle_folder)
    assert "golden.npz would unpack to 80" in message
    assert "50000 or fewer" in message


def array_with_header(shape):
    header = str({"descr": "<f4", "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(16)


def npz_of(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


@pytest.mark.parametrize("shape", [(5,), (1 << 20,), (-4,), "wide"])
def test_an_array_whose_header_lies_is_refused(bundle_folder, replace_file, shape):
    members = {"input": array_with_header(shape), "output": array_with_header((4,))}
    replace_file(bundle_folder, "golden.npz", npz_of(members))
    assert "golden.npz cannot be read" in refuse_golden(bundle_folder)


@pytest.mark.parametrize("length", [1 << 45, 1 << 70])
def test_an_array_whose_header_promises_more_than_memory_is_refused(bundle_folder, replace_file, length):
    members = {"input": array_with_header((length,)), "output": array_with_header((4,))}
    replace_file(bundle_folder, "golden.npz", npz_of(members))
    assert "golden.npz cannot be read" in refuse_golden(bundle_folder)


def damaged(kind):
    """A golden file with a fault that Python's zipfile reports in one of its several ways."""
    members = {"input": array_with_header((4,)), "output": array_with_header((4,))}
    data = bytearray(npz_of(members, zipfile.ZIP_DEFLATED))
    body, directory = 30 + len("input.npy"), data.index(b"PK\x01\x02")
    if kind == "checksum":
        data = bytearray(npz_of(members))
        data[body + 130] ^= 1
    elif kind == "truncated":
        del data[len(data) // 2 :]
    elif kind == "stream":
        data[body] = 0xFF
    elif kind == "encrypted":
        data[6] |= 1
        data[directory + 8] |= 1
    elif kind == "method":
        data[8] = data[directory + 10] = 99
    return bytes(data)


def test_the_damage_is_what_makes_the_difference(bundle_folder, replace_file):
    replace_file(bundle_folder, "golden.npz", damaged("not at all"))
    assert Bundle.open(bundle_folder).golden().input.shape == (4,)


@pytest.mark.parametrize(
    "kind",
    [
        "checksum",
        "truncated",
        "stream",
        "encrypted",
        "method",
    ],
)
def test_damaged_golden_answers_are_refused(bundle_folder, replace_file, kind):
    replace_file(bundle_folder, "golden.npz", damaged(kind))
    assert "golden.npz cannot be read" in refuse_golden(bundle_folder)


# --- is_bundle --------------------------------------------------------------------------------------


def test_a_bundle_is_known_as_one_even_when_damaged(bundle_folder):
    assert is_bundle(bundle_folder)
    (bundle_folder / "model.fp32.onnx").write_bytes(b"")
    (bundle_folder / "golden.npz").unlink()
    (bundle_folder / "report.html").write_bytes(b"")
    assert is_bundle(bundle_folder)


def test_the_tensors_of_recorded_pictures_are_golden_too(write_bundle, tmp_path, bundle):
    golden = Bundle.open(
        write_bundle(tmp_path / "b", picture_files=("golden-0.png", "golden-1.png"))
    ).golden()
    assert golden.pictures.shape == (2, 3, 8, 8)
    assert bundle.golden().pictures is None


def test_pictures_and_evidence_are_part_of_a_bundle(bundle_folder):
    for name in ("golden-0.png", "golden-11.jpg", "evidence.json"):
        (bundle_folder / name).write_bytes(b"")
    assert is_bundle(bundle_folder)


@pytest.mark.parametrize("name", ["icon.png", "golden-a.png", "holiday.jpg", "index.html", "package.json"])
def test_a_web_page_or_an_album_is_not_a_bundle_though_it_has_a_manifest(bundle_folder, name):
    (bundle_folder / name).write_bytes(b"")
    assert not is_bundle(bundle_folder)


def test_a_folder_that_holds_anything_else_is_not_a_bundle(bundle_folder, tmp_path):
    (bundle_folder / "thesis.txt").write_bytes(b"")
    assert not is_bundle(bundle_folder)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.onnx").write_bytes(b"")
    assert not is_bundle(tmp_path / "models")


def test_the_manifest_on_disk_is_json_that_other_tools_read(bundle_folder):
    value = json.loads((bundle_folder / "manifest.json").read_text(encoding="utf-8"))
    assert value["models"]["fp32"]["file"] == "model.fp32.onnx"
    assert value["verdict"]["ship"] == "fp16"


@pytest.mark.parametrize("shape", [["batch", 5], ["batch", 1], ["batch"], []])
def test_labels_must_fit_the_first_output(bundle_folder, edit_manifest, shape):
    edit_manifest(bundle_folder, lambda manifest: manifest["outputs"][0].update(shape=shape))
    with pytest.raises(BundleError, match="The manifest does not describe its model") as caught:
        Bundle.open(bundle_folder)
    assert "is no classification into 4 classes" in str(caught.value)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"name": "fortune telling"}, "There is no task 'fortune telling'"),
        ({"name": "segmentation", "threshold": "low"}, "threshold must be"),
        ({"name": "segmentation", "colour": 1}, "has no parameter 'colour'"),
        ({"name": "segmentation"}, "is not the segmentation that was asked for"),
        ({}, "There is no task"),
    ],
)
def test_a_task_that_is_unknown_or_does_not_fit_is_refused(bundle_folder, edit_manifest, task, message):
    edit_manifest(bundle_folder, lambda manifest: manifest.update(task=task))
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle_folder)
    assert message in str(caught.value)


def test_a_bundle_without_a_task_is_a_classification(bundle_folder, edit_manifest):
    edit_manifest(bundle_folder, lambda manifest: manifest.update(task=None))
    assert Bundle.open(bundle_folder).task.name == "classification"
