import hashlib
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.calibration.dataset.calibration_set import (
    MIN_INPUTS,
    CalibrationSet,
    inspect,
    read_calibration,
)
from edgeproof.calibration.onnx_graph.shapes import input_of
from edgeproof.runtime.bundle.manifest import TensorSpec
from edgeproof.runtime.errors import DataError, ModelError

SPEC = TensorSpec("image", ("batch", 3, 16, 16), "float32")


@pytest.fixture
def saved(tmp_path):
    """Saves arrays under a file name and gives the path."""

    def save(name, *arrays, save=np.savez, **named):
        path = tmp_path / name
        (np.save if name.endswith(".npy") else save)(path, *arrays, **named)
        return path

    return save


def accept(inputs, spec=SPEC):
    return inspect(lambda positions: inputs[positions], len(inputs), spec, "the test's inputs")


def test_a_set_is_counted_and_hashed_in_order(pictures):
    accepted = accept(pictures)
    assert len(accepted) == len(pictures)
    assert accepted.sha256 == hashlib.sha256(pictures.tobytes()).hexdigest()
    assert accept(pictures[::-1]).sha256 != accepted.sha256


@given(size=st.integers(1, 30))
def test_batches_hold_every_input_once_and_in_order(pictures, size):
    batches = list(accept(pictures).batches(size))
    assert (np.concatenate(batches) == pictures).all()
    assert {len(batch) for batch in batches[:-1]} <= {size}


@given(size=st.integers(1, 50))
def test_full_batches_are_filled_up_with_the_first_inputs(pictures, size):
    batches = list(accept(pictures).full_batches(size))
    joined = np.concatenate(batches)
    assert {len(batch) for batch in batches} == {size}
    assert len(batches) == -(-len(pictures) // size)
    assert (joined == pictures[np.arange(len(joined)) % len(pictures)]).all()


def test_a_sample_is_chosen_by_seed(pictures):
    accepted = accept(pictures)
    assert (accepted.sample(5) == accepted.sample(5)).all()
    assert (accepted.sample(5, seed=1) != accepted.sample(5, seed=2)).any()
    assert len(np.unique(accepted.sample(5).reshape(5, -1), axis=0)) == 5
    assert (accepted.sample(1000) == pictures).all()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
@pytest.mark.parametrize("key", ["image", "input", "anything"])
def test_a_npz_file_is_read(saved, pictures, save, key):
    accepted = read_calibration(saved("c.npz", save=save, **{key: pictures}), SPEC)
    assert (np.concatenate(list(accepted.batches(7))) == pictures).all()
    assert accepted.sha256 == hashlib.sha256(pictures.tobytes()).hexdigest()


def test_a_npy_file_is_read(saved, pictures):
    accepted = read_calibration(saved("c.npy", pictures), SPEC)
    assert (accepted.read(np.array([3, 1])) == pictures[[3, 1]]).all()


def test_of_several_arrays_the_one_named_like_the_models_input_is_read(saved, pictures):
    path = saved("c.npz", input=pictures[:1], image=pictures, labels=np.arange(20))
    assert len(read_calibration(path, SPEC)) == 20


def test_bytes_are_read_for_a_model_that_takes_bytes(saved, rng):
    spec = TensorSpec("image", (1, "height", "width", 3), "uint8")
    pictures = rng().integers(0, 200, (20, 4, 4, 3), np.uint8).repeat(4, axis=1).repeat(4, axis=2)
    assert len(read_calibration(saved("c.npy", pictures), spec)) == 20


def test_several_arrays_of_unknown_names_are_refused(saved, pictures):
    with pytest.raises(DataError, match="which of its arrays") as refusal:
        read_calibration(saved("c.npz", a=pictures, b=pictures), SPEC)
    assert refusal.value.details["available"] == "a, b"


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="There is no file"):
        read_calibration(tmp_path / "absent.npz", SPEC)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_calibration(tmp_path, SPEC)


@settings(max_examples=40)
@given(ending=st.sampled_from([".npy", ".npz"]), data=st.data())
def test_a_truncated_file_is_refused(tmp_path_factory, pictures, ending, data):
    path = tmp_path_factory.mktemp("truncated") / f"c{ending}"
    (np.save if ending == ".npy" else np.savez)(path, pictures)
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DataError):
        read_calibration(path, SPEC)


def test_a_flipped_bit_in_a_npz_file_is_noticed(saved, pictures):
    path = saved("c.npz", pictures)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read_calibration(path, SPEC)


def test_pickled_objects_are_refused_and_not_loaded(saved):
    class Bomb:
        def __reduce__(self):
            return pytest.fail, ("it was unpickled",)

    with pytest.raises(DataError):
        read_calibration(saved("c.npy", np.array([Bomb()] * 20, object)), SPEC)


@pytest.mark.parametrize(
    "array",
    [np.float32(1), np.zeros(20, [("a", "f4")]), np.asfortranarray(np.ones((20, 3, 16, 16), np.float32))],
    ids=["scalar", "records", "fortran order"],
)
def test_an_array_that_cannot_be_read_in_rows_is_refused(saved, array):
    with pytest.raises(DataError, match="no array that can calibrate"):
        read_calibration(saved("c.npy", array), SPEC)


def test_a_header_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "c.npy"
    with path.open("wb") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 3, 16, 16)}
        np.lib.format.write_array_header_1_0(stream, header)
    with pytest.raises(DataError, match="no array") as refusal:
        read_calibration(path, SPEC)
    assert "truncated" in refusal.value.details["got"]


def test_an_archive_without_arrays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "c.npz", "w"):
        pass
    with pytest.raises(DataError, match="which of its arrays"):
        read_calibration(tmp_path / "c.npz", SPEC)


def test_no_inputs_are_refused(pictures):
    with pytest.raises(DataError, match="no inputs"):
        accept(pictures[:0])


@pytest.mark.parametrize(
    "change",
    [
        lambda pictures: pictures[:, :, :8],
        lambda pictures: pictures[..., None],
        lambda pictures: pictures.transpose(0, 2, 3, 1),
        lambda pictures: pictures.astype(np.float64),
        lambda pictures: pictures.astype(">f4"),
        lambda pictures: pictures[:, :0],
    ],
    ids=["size", "axes", "layout", "float64", "byte order", "no values"],
)
def test_inputs_that_do_not_fit_the_model_are_refused(pictures, change):
    with pytest.raises(DataError, match="does not hold inputs of the model") as refusal:
        accept(change(pictures))
    assert refusal.value.details["wanted"] == "float32 of shape (N, 3, 16, 16)"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_input_that_is_not_finite_is_named(pictures, bad):
    broken = pictures.copy()
    broken[17:, 1, 2, 3] = bad
    with pytest.raises(DataError, match="NaN or Inf, first in input 17"):
        accept(broken)


def test_just_enough_inputs_are_accepted(pictures):
    assert len(accept(pictures[:MIN_INPUTS])) == MIN_INPUTS


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda pictures: pictures[:15], "15 inputs, of which 0 hold one value only and 0 repeat"),
        (lambda pictures: pictures[[0] * 50], "50 inputs, of which 0 hold one value only and 49 repeat"),
        (
            lambda pictures: pictures * np.float32(0),
            "20 inputs, of which 20 hold one value only and 0 repeat",
        ),
        (lambda pictures: np.concatenate([pictures[:10]] * 3), "0 hold one value only and 20 repeat"),
    ],
    ids=["few", "one many times", "constant", "few many times"],
)
def test_too_little_variety_is_refused(pictures, change, got):
    with pytest.raises(DataError, match="too little to calibrate with") as refusal:
        accept(change(pictures))
    assert got in refusal.value.details["got"]


@pytest.mark.parametrize("shape", [(3, 32, 32), (32, 32, 3), (1, 28, 28)], ids=str)
@pytest.mark.parametrize("kind", ["normal", "uniform", "one offset a channel"])
def test_random_numbers_are_refused(rng, shape, kind):
    noise = rng().uniform(-1, 1, (20, *shape)) if kind == "uniform" else rng().standard_normal((20, *shape))
    if kind == "one offset a channel":
        channels = tuple(side if side == min(shape) else 1 for side in shape)
        noise += np.arange(min(shape)).reshape(channels)
    with pytest.raises(DataError, match="random numbers"):
        accept(noise.astype(np.float32), TensorSpec("x", ("batch", *shape), "float32"))


def test_features_without_neighbours_are_not_taken_for_random_numbers(rng):
    features = rng().standard_normal((20, 64)).astype(np.float32)
    assert len(accept(features, TensorSpec("x", ("batch", 64), "float32"))) == 20


def test_the_input_of_a_model_is_described(network, build):
    assert input_of(network.model) == SPEC
    weight_listed_as_input = build(
        "g (float[2,?] x, float w) => (float[2,?] y) { y = Mul(x, w) }", w=np.float32(1)
    )
    found = input_of(weight_listed_as_input.model)
    assert (found.name, found.shape[0], found.dtype) == ("x", 2, "float32")
    assert isinstance(found.shape[1], str)


def test_a_model_of_two_inputs_is_refused(build):
    model = build("g (float[2] a, float[2] b) => (float[2] y) { y = Add(a, b) }").model
    with pytest.raises(ModelError, match="exactly one input") as refusal:
        input_of(model)
    assert refusal.value.details["got"] == "a, b"


@given(st.integers(2, 40), st.floats(0.01, 0.99))
def test_a_split_gives_every_input_to_one_part(count, share):
    rows = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    few, others = CalibrationSet(lambda at: rows[at], count, "0" * 64).split(share)
    parts = [np.concatenate(list(part.batches(7))) for part in (few, others)]
    assert [len(part) for part in parts] == [len(few), len(others)]
    assert min(len(few), len(others)) >= 1
    assert abs(len(few) - share * count) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(parts), axis=0), rows)
    for part, values in zip((few, others), parts, strict=True):
        assert part.sha256 == hashlib.sha256(values.tobytes()).hexdigest()
