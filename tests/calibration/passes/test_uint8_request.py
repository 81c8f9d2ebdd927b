from dataclasses import replace

import pytest

from edgeproof.calibration.passes.uint8_request import Uint8Request, served_preprocess, uint8_request
from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.errors import InputError

TRAINED = Preprocess(resize=18, crop=(16, 16), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
GRAY = Preprocess(resize=None, crop=(16, 16), mean=(0.3,), std=(0.2,), color="gray")
LETTERBOXED = replace(TRAINED, resize=(16, 16), crop=None, letterbox=114)


def test_the_options_make_the_request():
    assert uint8_request(False) is None
    assert uint8_request(True) == Uint8Request()
    assert uint8_request(True, "bgr") == Uint8Request("bgr")
    assert uint8_request(True, None, "device", "720x1280") == Uint8Request(None, (720, 1280))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((False, "bgr"), "add --uint8-input"),
        ((False, None, "device", "720x1280"), "add --uint8-input"),
        ((False, None, "pillow", "720x1280"), "add --uint8-input"),
        ((True, "gbr"), "rgb, bgr"),
        ((True, None, "gpu"), "pillow, device"),
        ((True, None, "device"), "--source 720x1280"),
        ((True, None, "pillow", "720x1280"), "--resize device"),
        *(
            ((True, None, "device", text), "HxW")
            for text in ("720", "720x", "0x9", "-1x9", "720x1280x3", "9x8193")
        ),
    ],
)
def test_options_that_say_nothing_together_are_refused(options, message):
    with pytest.raises(InputError) as caught:
        uint8_request(*options)
    assert message in str(caught.value)


def test_the_served_preprocessing():
    served = served_preprocess(Uint8Request("bgr", (72, 128)), TRAINED)
    assert served == TRAINED.for_pixels("bgr", (72, 128))
    assert served.size == (72, 128)


@pytest.mark.parametrize(
    ("request_", "trained", "message"),
    [
        (Uint8Request(), None, "takes tensors"),
        (Uint8Request(), TRAINED.for_pixels(), "pixels already"),
        (Uint8Request("bgr"), GRAY, "one channel"),
        (Uint8Request(source=(72, 128)), LETTERBOXED, "letterbox"),
    ],
)
def test_what_cannot_be_served(request_, trained, message):
    with pytest.raises(InputError, match=message):
        served_preprocess(request_, trained)
