import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeproof.calibration.ranges.statistics import Range
from edgeproof.calibration.ranges.trt_cache import read_calibration_cache
from edgeproof.runtime.errors import DataError

HEADER = "TRT-8601-EntropyCalibration2"


def line(name, scale):
    return f"{name}: {struct.pack('>f', scale).hex()}"


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Writes a cache of some lines, below the usual first one, and gives its path."""

    def write(*lines, header=HEADER):
        path = tmp_path_factory.mktemp("cache") / "calibration.cache"
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    return write


def test_a_scale_becomes_127_steps_on_either_side(written):
    path = written("image: 3c010a14", "conv: 3f800000")
    scale = float(np.array(0x3C010A14, np.uint32).view(np.float32))
    assert read_calibration_cache(path, ["image", "conv"]) == {
        "image": Range(-127 * scale, 127 * scale),
        "conv": Range(-127, 127),
    }


@given(st.floats(2.0**-126, 2.0**120, width=32))
def test_every_positive_scale_comes_back_exactly(written, scale):
    assert read_calibration_cache(written(line("x", scale)), ["x"])["x"].high == 127 * scale


@pytest.mark.parametrize(
    "name", ["(Unnamed Layer* 12) [Convolution]_output", "a: b", "/features/0/Conv_output_0", "größe"]
)
def test_names_are_taken_as_they_are(written, name):
    assert read_calibration_cache(written(line(name, 1), line("other", 2)), [name]) == {
        name: Range(-127, 127)
    }


def test_blank_lines_windows_line_ends_and_repeated_entries_do_no_harm(written):
    path = written(line("x", 1) + "\r", "", line("x", 1), "")
    assert read_calibration_cache(path, ["x"]) == {"x": Range(-127, 127)}


def test_a_cache_of_another_model_is_refused_with_what_is_missing(written):
    path = written(line("a", 1), line("b", 1))
    with pytest.raises(DataError, match="2 of 3 values have no scale") as refusal:
        read_calibration_cache(path, ["a", "conv_1", "conv_2"])
    assert refusal.value.details["wanted"] == "conv_1, conv_2"
    assert refusal.value.details["available"] == "a, b"


def test_of_many_missing_values_a_few_are_named(written):
    with pytest.raises(DataError) as refusal:
        read_calibration_cache(written(), [f"v{index}" for index in range(9)])
    assert refusal.value.details["wanted"] == "v0, v1, v2, v3, v4 and 4 more"
    assert refusal.value.details["available"] == "none"


def test_of_as_many_as_are_named_none_is_left_over(written):
    with pytest.raises(DataError) as refusal:
        read_calibration_cache(written(), [f"v{index}" for index in range(5)])
    assert refusal.value.details["wanted"] == "v0, v1, v2, v3, v4"


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, -np.inf, np.nan], ids=str)
def test_a_scale_that_is_not_positive_and_finite_is_refused(written, scale):
    with pytest.raises(DataError, match="Line 3") as refusal:
        read_calibration_cache(written(line("x", 1), line("y", scale)), ["x"])
    assert "for y" in refusal.value.details["got"]


@pytest.mark.parametrize("damaged", ["x", "x: ", "x: 3c01", "x: 3c010a14ff", "x: 3c010a1z", ": 3c010a14"])
def test_a_damaged_line_is_named(written, damaged):
    with pytest.raises(DataError, match="Line 2"):
        read_calibration_cache(written(damaged), ["x"])


def test_two_scales_of_one_tensor_are_refused(written):
    with pytest.raises(DataError, match="Line 3") as refusal:
        read_calibration_cache(written(line("x", 1), line("x", 2)), ["x"])
    assert refusal.value.details["got"] == "a second scale for x"


@pytest.mark.parametrize("header", ["", "name: 3c010a14", "{}", "TRT-EntropyCalibration2"])
def test_a_file_without_the_first_line_is_refused(written, header):
    with pytest.raises(DataError, match="not a TensorRT calibration cache"):
        read_calibration_cache(written(line("x", 1), header=header), ["x"])


def test_files_that_are_not_text_or_not_there_are_refused(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "binary").write_bytes(b"TRT-8601-EntropyCalibration2\n\xff\xfe")
    with pytest.raises(DataError, match="not a TensorRT calibration cache"):
        read_calibration_cache(tmp_path / "empty", ["x"])
    for name in ("binary", "absent"):
        with pytest.raises(DataError, match="cannot be read"):
            read_calibration_cache(tmp_path / name, ["x"])
