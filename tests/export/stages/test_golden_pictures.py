"""The pictures that a bundle holds, and what they prove."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from edgeproof.export.data.arrays import array_dataset
from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.stages.golden_pictures import PICTURES, SIDE, most_confident, record_pictures
from edgeproof.export.training.trainer import predict
from edgeproof.runtime import Preprocess, Runner, verify
from edgeproof.runtime.bundle.bundle import MAX_PICTURE_BYTES, Bundle

PREPROCESS = Preprocess(resize=16, crop=(16, 16), mean=(0.5,) * 3, std=(0.5,) * 3)
LABELS = ("red", "green", "blue")


def strongest_channel(tensors):
    return [LABELS[index] for index in tensors.mean(axis=(2, 3)).argmax(axis=1)]


def record(*images, preprocess=PREPROCESS):
    return record_pictures(images, preprocess, strongest_channel)


def noise(size=(40, 30), mode="RGB", seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


# --- in a bundle ------------------------------------------------------------------------------------


def test_labels_are_pytorchs_own_and_the_runners(tiny_bundle, sample):
    manifest, recorded = tiny_bundle.manifest, tiny_bundle.golden().pictures
    best = predict(sample.network, recorded).argmax(axis=1)
    assert [entry.label for entry in manifest.pictures] == [manifest.labels[i] for i in best]
    with Runner.open(tiny_bundle, precision="fp32") as runner:
        paths = [tiny_bundle.folder / entry.file for entry in manifest.pictures]
        assert [r.top[0].label for r in runner.stream(paths)] == [entry.label for entry in manifest.pictures]


def test_they_show_different_classes(tiny_bundle):
    assert len({entry.label for entry in tiny_bundle.manifest.pictures}) == PICTURES


def test_the_other_golden_arrays_are_as_before(tiny_bundle):
    with np.load(tiny_bundle.folder / "golden.npz") as arrays:
        assert set(arrays.files) == {"input", "output", "pictures"}
        assert arrays["input"].shape == (8, 3, 32, 32)
        assert arrays["pictures"].shape == (4, 3, 32, 32)


def test_a_network_that_takes_tensors_has_none(tiny_network, tmp_path, progress):
    tensors = np.random.default_rng(0).normal(size=(24, 3, 32, 32)).astype(np.float32)
    labelled = tensors, np.arange(24) % 10
    data = array_dataset(evaluation=labelled, calibration=labelled, classes="abcdefghij")
    request = ExportRequest(
        model=tiny_network, weights="factory", data=data, out=tmp_path / "tensors", precisions=("fp32",)
    )
    bundle = export_bundle(request, progress)
    assert bundle.manifest.preprocess is None
    assert bundle.manifest.pictures == ()
    assert bundle.golden().pictures is None
    assert verify(bundle, "fp32").pictures == 0


# --- what is encoded --------------------------------------------------------------------------------


def test_png_and_jpeg_in_turn_each_with_the_tensor_of_its_bytes():
    pictures = record(*(noise(seed=seed) for seed in range(4)))
    assert [p.file for p in pictures] == ["golden-0.png", "golden-1.jpg", "golden-2.png", "golden-3.jpg"]
    for picture in pictures:
        decoded = Image.open(io.BytesIO(picture.data))
        assert decoded.format == ("PNG" if picture.file.endswith("png") else "JPEG")
        assert np.array_equal(PREPROCESS(decoded), picture.tensor)
        assert picture.label == LABELS[int(picture.tensor.mean(axis=(1, 2)).argmax())]


def test_a_png_keeps_every_pixel():
    image = noise()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(record(image)[0].data))), np.asarray(image))


@pytest.mark.parametrize("size", [(2000, 100), (100, 2000), (513, 513)])
def test_large_pictures_are_made_smaller_and_keep_their_shape(size):
    for picture in record(noise(size), noise(size)):
        decoded = Image.open(io.BytesIO(picture.data))
        assert max(decoded.size) == SIDE
        assert decoded.size[0] / decoded.size[1] == pytest.approx(size[0] / size[1], rel=0.05)


def test_even_noise_fits_what_a_reader_accepts():
    assert (
        max(len(picture.data) for picture in record(noise((SIDE, SIDE)), noise((SIDE, SIDE))))
        < MAX_PICTURE_BYTES
    )


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_pictures_of_every_mode_can_be_kept(mode):
    for picture in record(noise(mode=mode), noise(mode=mode)):
        assert picture.tensor.shape == (3, 16, 16)


def test_nothing_that_a_camera_noted_is_kept(tmp_path):
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a camera"
    noise().save(tmp_path / "photo.jpg", exif=exif, icc_profile=b"a profile", comment=b"at home")
    with Image.open(tmp_path / "photo.jpg") as image:
        image.load()
        for picture in record(*[image] * 4):
            assert not any(word in picture.data for word in (b"a camera", b"a profile", b"at home"))


def test_one_notes_a_rotation_so_that_it_shows_whether_it_is_carried_out():
    image = noise((40, 20))
    kept = [
        Image.open(io.BytesIO(p.data)).getexif().get(ExifTags.Base.Orientation) for p in record(*[image] * 4)
    ]
    assert kept == [None, None, None, 6]
    turning = Preprocess(resize=16, crop=(16, 16), mean=(0.5,) * 3, std=(0.5,) * 3, exif_transpose=True)
    plain, turned = record(*[image] * 4)[3], record(*[image] * 4, preprocess=turning)[3]
    assert plain.data == turned.data
    assert not np.array_equal(plain.tensor, turned.tensor)


def test_no_pictures_give_none():
    assert record() == ()


# --- which are chosen -------------------------------------------------------------------------------


def test_the_surest_of_each_class_come_first_then_the_others():
    scores = np.array([[9, 0, 0], [8, 0, 0], [0, 5, 4], [0, 7, 1], [0, 1, 2]], np.float32)
    assert most_confident(scores, 4) == [0, 3, 4, 1]
    assert most_confident(scores, 2) == [0, 3]


@given(
    st.integers(1, 6).flatmap(
        lambda classes: st.lists(
            st.lists(st.floats(-9, 9, width=32), min_size=classes, max_size=classes), min_size=1, max_size=12
        )
    ),
    st.integers(1, 6),
)
def test_each_is_chosen_once_and_as_many_as_there_are(rows, count):
    scores = np.array(rows, np.float32)
    chosen = most_confident(scores, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(scores))
    classes = scores.argmax(axis=1)
    assert len(set(classes[chosen])) == min(len(set(classes)), len(chosen))


def test_a_folder_of_pictures_gives_its_own(tmp_path, tiny_network, progress):
    random = np.random.default_rng(0)
    for label in range(10):
        (tmp_path / "photos" / f"{label}").mkdir(parents=True)
        for number in range(3):
            pixels = random.integers(0, 256, (50, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / f"{label}" / f"{number}.png")
    request = ExportRequest(
        model=tiny_network,
        weights="factory",
        data=f"imagefolder:{tmp_path / 'photos'}",
        out=tmp_path / "out",
        input_shape=(3, 32, 32),
        precisions=("fp32",),
    )
    bundle = Bundle.open(export_bundle(request, progress).folder)
    with Image.open(bundle.folder / "golden-0.png") as picture:
        assert picture.size == (60, 50)
    assert verify(bundle, "fp32")
