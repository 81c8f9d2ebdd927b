"""What INT8 leaves float."""

import pytest

from edgeproof.calibration.passes.float_rest import require_rounding
from edgeproof.runtime.errors import InputError


@pytest.mark.parametrize("version", ["1.23.2", "1.29.0"])
def test_an_onnxruntime_that_truncates_float16_is_refused_with_the_way_out(version):
    with pytest.raises(
        InputError, match=rf"(?s)1\.30 or later.*onnxruntime {version}.*--target tensorrt-fp32"
    ):
        require_rounding(version)


@pytest.mark.parametrize("version", ["1.30.0", "1.31.1", "2.0", "1.33.0.dev20270101"])
def test_one_that_rounds_is_taken(version):
    require_rounding(version)
