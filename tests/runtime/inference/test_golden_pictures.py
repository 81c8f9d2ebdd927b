"""Recorded pictures: what decodes, prepares and labels them is what did so at export."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.bundle import bundle as bundle_module
from edgeproof.runtime.bundle.bundle import Bundle
from edgeproof.runtime.bundle.parity import TOLERANCES
from edgeproof.runtime.errors import BundleError, InputError
from edgeproof.runtime.inference.golden_pictures import _difference, check_pictures
from edgeproof.runtime.inference.verification import verify
from edgeproof.runtime.session.session import Session

PICTURES = ("golden-0.png", "golden-1.jpg", "golden-2.png", "golden-3.jpg")


@pytest.fixture
def folder(write_bundle, tmp_path):
    """A bundle with two PNG and two JPEG pictures: red, green, blue, dark."""
    return write_bundle(tmp_path / "pictures", picture_files=PICTURES)


@pytest.fixture
def change_golden(folder, replace_file, npz):
    """change_golden(change): apply change(pictures) to the recorded tensors, and open the bundle again."""

    def change(function):
        with np.load(folder / "golden.npz") as arrays:
            kept = {name: arrays[name] for name in arrays.files}
        kept["pictures"] = function(kept["pictures"])
        replace_file(folder, "golden.npz", npz(**kept))
        return Bundle.open(folder)

    return change


def answering(*indices):
    """A session that labels the pictures so, one after the other."""
    answers = iter(indices)

    class Answering:
        def run(self, batch):
            return {"scores": np.eye(4, dtype=np.float32)[[next(answers)]]}

    return Answering()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_pictures_that_become_what_they_were_pass(folder, precision):
    replay = verify(Bundle.open(folder), precision)
    assert replay
    assert replay.pictures == 4
    assert replay.reason == ""


def test_a_bundle_without_pictures_checks_none(bundle):
    replay = verify(bundle, "fp32")
    assert replay
    assert replay.pictures == 0


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5, 0.51]},
        {"std": [0.5, 0.49, 0.5]},
        {"interpolation": "bicubic"},
        {"resize": [8, 8]},
        {"crop": [9, 9]},
        {"mean": [0.5], "std": [0.5], "color": "gray"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_preprocessing_fails_and_names_the_picture(folder, edit_manifest, change):
    edit_manifest(folder, lambda manifest: manifest["preprocess"].update(change))
    replay = verify(Bundle.open(folder), "fp32")
    assert not replay
    assert "golden-0.png: preprocessing gives another tensor than at export" in replay.reason
    assert replay.relative_l2 is not None
    assert replay.relative_l2 < 1e-4


def test_labels_in_another_order_fail_though_scores_are_right(folder, edit_manifest):
    edit_manifest(folder, lambda manifest: manifest["labels"].reverse())
    replay = verify(Bundle.open(folder), "fp32")
    assert not replay
    assert "golden-0.png: it is labelled 'dark' here, and 'red' by PyTorch" in replay.reason


def off_by(levels, where):
    def change(pictures):
        changed = pictures.copy()
        changed[where, 1, 3, 4] += np.float32(levels / 255 / 0.5)
        return changed

    return change


@pytest.mark.parametrize("levels", [-2, 1, 2])
def test_a_jpeg_may_differ_by_two_levels_and_a_png_not_at_all(change_golden, levels):
    assert verify(change_golden(off_by(levels, 1)), "fp32")
    replay = verify(change_golden(off_by(levels, 0)), "fp32")
    assert not replay
    assert replay.reason.startswith("golden-0.png: preprocessing gives another tensor")
    assert f"up to {abs(levels)} of 255 levels" in replay.reason


@pytest.mark.parametrize("levels", [3, -3, 40])
def test_a_jpeg_that_differs_by_more_fails(change_golden, levels):
    replay = verify(change_golden(off_by(levels, 3)), "fp32")
    assert not replay
    assert replay.reason.startswith("golden-3.jpg: preprocessing gives another tensor")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pictures: pictures.astype(np.float64), "float32 of shape (3, 8, 8) for float64"),
        (lambda pictures: pictures[:, :, 1:], "for float32 of shape (3, 7, 8)"),
        (lambda pictures: np.full_like(pictures, np.nan), "differs by up to nan"),
    ],
)
@pytest.mark.parametrize("picture", PICTURES[:2])
def test_tensors_of_another_kind_fail(change_golden, change, said, picture):
    replay = verify(change_golden(change), "fp32")
    assert not replay
    assert said in replay.reason
    assert picture in replay.reason


@pytest.mark.parametrize(("levels", "jpeg"), [(2, ""), (3, "it differs by up to 3 of 255 levels")])
def test_whole_levels_are_counted_where_tensors_hold_pixels(bundle, levels, jpeg):
    """What uint8 inputs need: there the tensor is the picture."""
    pixels = np.full((4, 4, 3), 1, np.uint8)
    other = pixels.copy()
    other[0, 0, 0] += levels
    for one, two in ((pixels, other), (other, pixels)):
        assert _difference(one, two, bundle.manifest.preprocess, lossy=True) == jpeg
        assert f"up to {levels} of" in _difference(one, two, bundle.manifest.preprocess, lossy=False)


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 0), ("fp16", 1), ("int8", 1)])
def test_a_lower_precision_may_label_one_picture_otherwise(folder, precision, allowed):
    opened = Bundle.open(folder)
    golden, tolerance = opened.golden(), TOLERANCES[precision]
    for wrong in range(3):
        indices = [3 if i < wrong else i for i in range(4)]
        checked = check_pictures(opened, golden, answering(*indices), tolerance)
        assert bool(checked) == (wrong <= allowed)
        assert all(name in checked.reason for name in PICTURES[:wrong]) or wrong <= allowed


def test_an_answer_of_nan_fails_in_every_precision_however_many_labels_may_differ(folder):
    class Silent:
        def run(self, batch):
            return {"scores": np.full((1, 4), np.nan, np.float32)}

    opened = Bundle.open(folder)
    checked = check_pictures(opened, opened.golden(), Silent(), TOLERANCES["int8"])
    assert checked.reason.count("does not give a finite score for each label") == 4


@pytest.mark.parametrize("answers", [{}, {"scores": np.zeros((1, 5))}, {"scores": np.zeros((1, 4, 2))}])
def test_an_answer_that_is_no_score_for_each_label_fails(folder, answers):
    class Other:
        def run(self, batch):
            return answers

    opened = Bundle.open(folder)
    assert (
        "does not give a finite score"
        in check_pictures(opened, opened.golden(), Other(), TOLERANCES["int8"]).reason
    )


@pytest.mark.parametrize("data", [b"", b"no picture"], ids=["empty", "text"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_picture_that_cannot_be_read_here_fails_and_is_named(folder, replace_file, data, precision):
    replace_file(folder, "golden-1.jpg", data)
    replay = verify(Bundle.open(folder), precision)
    assert not replay
    assert replay.reason == "golden-1.jpg is not a picture that Pillow can read."


def test_a_truncated_picture_fails_and_is_named(folder, replace_file):
    data = (folder / "golden-2.png").read_bytes()
    replace_file(folder, "golden-2.png", data[: len(data) // 2])
    assert "golden-2.png is damaged or truncated" in verify(Bundle.open(folder), "fp32").reason


def test_another_picture_of_the_same_colour_fails(folder, replace_file):
    stream = io.BytesIO()
    Image.new("RGB", (17, 14), (250, 5, 5)).save(stream, "PNG")
    replace_file(folder, "golden-0.png", stream.getvalue())
    assert "golden-0.png" in verify(Bundle.open(folder), "fp32").reason


def test_a_picture_changed_since_the_bundle_was_opened_is_refused(folder):
    opened = Bundle.open(folder)
    (folder / "golden-0.png").write_bytes(b"other")
    with pytest.raises(BundleError, match=r"golden-0\.png has changed since"):
        verify(opened, "fp32")


def test_both_failures_are_told(folder, replace_file, edit_manifest, tiny_model):
    replace_file(folder, "model.fp32.onnx", tiny_model(weights=np.eye(3, 4, dtype=np.float32)))
    edit_manifest(folder, lambda manifest: manifest["preprocess"].update(mean=[0.4, 0.5, 0.5]))
    reason = verify(Bundle.open(folder), "fp32").reason
    assert "relative error" in reason
    assert "golden-0.png" in reason


@pytest.mark.parametrize(
    "change", [lambda p: p[:3], lambda p: np.concatenate([p, p]), lambda p: p[0, 0, 0, 0]]
)
def test_tensors_that_are_not_one_a_picture_are_refused(change_golden, change):
    with pytest.raises(BundleError, match="does not hold the promised pictures"):
        verify(change_golden(change), "fp32")


def test_pictures_without_their_tensors_are_refused(folder, replace_file, npz):
    with np.load(folder / "golden.npz") as arrays:
        replace_file(folder, "golden.npz", npz(input=arrays["input"], output=arrays["output"]))
    with pytest.raises(BundleError, match="does not hold the promised arrays"):
        verify(Bundle.open(folder), "fp32")


def test_a_tensor_that_does_not_fit_the_model_though_it_is_the_recorded_one(
    folder, replace_file, edit_manifest, npz
):
    edit_manifest(folder, lambda manifest: manifest["preprocess"].update(crop=[7, 7]))
    opened = Bundle.open(folder)
    small = [
        opened.manifest.preprocess(Image.open(io.BytesIO(opened.picture_bytes(entry))))
        for entry in opened.manifest.pictures
    ]
    with np.load(folder / "golden.npz") as arrays:
        replace_file(folder, "golden.npz", npz(**{**arrays, "pictures": np.stack(small)}))
    with pytest.raises(InputError, match="does not fit the model"):
        verify(Bundle.open(folder), "fp32")


def test_the_command_fails_and_says_which_picture(folder, edit_manifest, edgeproof):
    edit_manifest(folder, lambda manifest: manifest["preprocess"].update(mean=[0.4, 0.5, 0.5]))
    done = edgeproof("verify", str(folder))
    assert done.returncode == 1
    assert "golden-0.png: preprocessing gives another tensor" in done.stdout
    found = json.loads(edgeproof("verify", str(folder), "--json").stdout)
    assert (found["fp32"]["passed"], found["fp32"]["pictures"]) == (False, 4)


def test_the_label_counts_for_the_session_that_is_given(folder):
    opened = Bundle.open(folder)
    with Session(opened.model_bytes("fp32")) as session:
        assert check_pictures(opened, opened.golden(), session, TOLERANCES["fp32"])


def test_on_a_gpu_both_replays_of_float32_check_the_pictures(machine, folder):
    found = verify(Bundle.open(folder), "fp32", "cuda")
    assert found
    assert (found.pictures, found.exact.pictures) == (4, 4)


def test_a_damaged_manifest_cannot_make_the_check_read_elsewhere(folder, edit_manifest):
    (folder.parent / "outside.png").write_bytes(b"secret")
    edit_manifest(folder, lambda manifest: manifest["pictures"][0].update(file="../outside.png"))
    (folder / "golden-0.png").unlink()
    with pytest.raises(BundleError, match="a path that leaves the bundle"):
        Bundle.open(folder)


def test_the_limit_of_a_pictures_size_is_above_what_export_writes():
    assert bundle_module.MAX_PICTURE_BYTES > 3 * 512 * 512 * 1.1
