import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from torchvision.transforms import InterpolationMode
from torchvision.transforms._presets import ImageClassification

from edgeproof.runtime.bundle.preprocess import INTERPOLATIONS, MAX_PIXELS, Preprocess
from edgeproof.runtime.errors import ImageError
from edgeproof.runtime.records import decode, encode

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MODES = ["L", "LA", "RGB", "RGBA", "CMYK", "P", "1"]

sides = st.one_of(st.integers(1, 40), st.integers(41, 90))
seeds = st.integers(0, 2**16)
interpolations = st.sampled_from(sorted(INTERPOLATIONS))


def picture(seed, height, width, mode="RGB"):
    """Noise beside a gradient, in any mode, with an alpha channel that varies."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width, dtype=np.uint8)
    if mode == "CMYK":
        return Image.frombytes("CMYK", (width, height), pixels.tobytes())
    image = Image.frombytes("RGBA", (width, height), pixels.tobytes())
    return image.convert(mode) if mode in ("RGBA", "LA") else image.convert("RGB").convert(mode)


def by_hand(preprocess, image):
    """The same, composed from torchvision's transforms as in a training script."""
    steps = []
    if preprocess.color == "gray":
        steps.append(transforms.Grayscale())
    if preprocess.resize is not None:
        steps.append(transforms.Resize(preprocess.resize, InterpolationMode(preprocess.interpolation)))
    if preprocess.crop is not None:
        steps.append(transforms.CenterCrop(preprocess.crop))
    steps += [transforms.ToTensor(), transforms.Normalize(preprocess.mean, preprocess.std)]
    return transforms.Compose(steps)(image.convert("RGB")).numpy()


@given(
    seeds,
    sides,
    sides,
    st.sampled_from(MODES),
    st.integers(1, 64),
    st.integers(1, 64),
    st.sampled_from(["nearest", "bilinear", "bicubic"]),
)
@settings(max_examples=300)
def test_equal_to_torchvisions_image_classification(seed, height, width, mode, resize, crop, interpolation):
    image = picture(seed, height, width, mode)
    ours = Preprocess(resize, (crop, crop), MEAN, STD, interpolation)
    theirs = ImageClassification(
        crop_size=crop,
        resize_size=resize,
        mean=MEAN,
        std=STD,
        interpolation=InterpolationMode(interpolation),
    )
    assert np.array_equal(ours(image), theirs(image.convert("RGB")).numpy())


@given(
    seeds,
    sides,
    sides,
    st.sampled_from(MODES),
    st.one_of(st.none(), st.integers(1, 64), st.tuples(sides, sides)),
    st.one_of(st.none(), st.tuples(sides, sides)),
    interpolations,
    st.sampled_from(["rgb", "gray"]),
)
@settings(max_examples=300)
def test_equal_to_transforms_composed_by_hand(seed, height, width, mode, resize, crop, interpolation, color):
    image = picture(seed, height, width, mode)
    channels = 1 if color == "gray" else 3
    ours = Preprocess(resize, crop, MEAN[:channels], STD[:channels], interpolation, color=color)
    result = ours(image)
    assert np.array_equal(result, by_hand(ours, image))
    assert result.dtype == np.float32
    assert result.shape[0] == channels
    assert ours.size is None or result.shape[1:] == ours.size


@pytest.mark.parametrize(("height", "width"), [(500, 375), (375, 500), (333, 1001), (1, 1), (224, 224)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_equal_to_torchvision_at_the_size_of_imagenet(height, width, interpolation):
    image = picture(3, height, width)
    ours = Preprocess(232, (224, 224), MEAN, STD, interpolation)
    theirs = ImageClassification(
        crop_size=224, resize_size=232, interpolation=InterpolationMode(interpolation)
    )
    assert np.array_equal(ours(image), theirs(image).numpy())


def test_a_palette_with_transparency_is_seen_as_torchvision_sees_it():
    image = picture(1, 20, 30, "P")
    image.info["transparency"] = 3
    ours = Preprocess(16, (16, 16), MEAN, STD)
    assert np.array_equal(ours(image), by_hand(ours, image))


def test_what_is_smaller_than_the_crop_is_padded_with_black():
    white = Image.new("RGB", (3, 5), "white")
    pixels = np.asarray(Preprocess(None, (7, 6), MEAN, STD).pixels(white))
    assert pixels.shape == (7, 6, 3)
    assert pixels[1:6, 1:4].min() == 255
    assert pixels.sum(dtype=int) == 5 * 3 * 3 * 255


def test_the_picture_is_left_as_it_was():
    image = picture(0, 20, 30)
    before = image.tobytes()
    Preprocess(8, (8, 8), MEAN, STD, exif_transpose=True)(image)
    assert image.tobytes() == before


@pytest.mark.parametrize(
    ("resize", "crop", "size"),
    [(8, (4, 5), (4, 5)), ((6, 7), None, (6, 7)), (8, None, None), (None, None, None)],
)
def test_size_is_known_only_where_no_picture_decides_it(resize, crop, size):
    assert Preprocess(resize, crop, MEAN, STD).size == size


# --- letterbox --------------------------------------------------------------------------------------

GREY = 114


def letterboxed_by_hand(image, height, width):
    """As YOLO's own loader does it, written out with Pillow."""
    ratio = min(height / image.height, width / image.width)
    inner = image.convert("RGB").resize(
        (max(1, round(image.width * ratio)), max(1, round(image.height * ratio))), Image.Resampling.BILINEAR
    )
    left, top = round((width - inner.width) / 2 - 0.1), round((height - inner.height) / 2 - 0.1)
    ground = Image.new("RGB", (width, height), (GREY, GREY, GREY))
    ground.paste(inner, (left, top))
    return ground


@given(seeds, sides, sides, sides, sides, st.sampled_from(MODES))
@settings(max_examples=100)
def test_a_letterbox_is_that_of_yolos_loader(seed, height, width, to_height, to_width, mode):
    image = picture(seed, height, width, mode)
    ours = Preprocess((to_height, to_width), None, (0.0,) * 3, (1.0,) * 3, letterbox=GREY)
    wanted = letterboxed_by_hand(image, to_height, to_width)
    assert np.array_equal(np.asarray(ours.pixels(image)), np.asarray(wanted))
    assert np.array_equal(ours(image), np.asarray(wanted, np.float32).transpose(2, 0, 1) / np.float32(255))
    assert ours.size == (to_height, to_width)


@pytest.mark.parametrize("color", ["rgb", "bgr", "gray"])
def test_borders_are_grey_in_each_order_of_channels(color):
    channels = 1 if color == "gray" else 3
    trained = Preprocess((8, 8), None, (0.5,) * channels, (0.5,) * channels, color=color, letterbox=GREY)
    pixels = trained.for_pixels()(Image.new("RGB", (16, 4), "white"))
    assert pixels.shape == (8, 8, channels)
    assert (pixels[:3] == GREY).all()
    assert (pixels[3:5] == 255).all()
    assert (pixels[5:] == GREY).all()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 8), (8, 4), (8, 16)])
def test_only_a_picture_of_the_whole_size_needs_no_letterbox(height, width):
    served = Preprocess((8, 8), None, MEAN, STD, letterbox=GREY).for_pixels()
    assert served.takes_as_it_is(height, width) == ((height, width) == (8, 8))


def test_a_manifest_from_before_letterboxes_has_none():
    value = encode(Preprocess((8, 8), None, MEAN, STD))
    del value["letterbox"]
    assert decode(Preprocess, value).letterbox is None


def test_a_letterbox_is_no_product_of_matrices():
    with pytest.raises(ValueError, match="no product"):
        Preprocess((8, 8), None, MEAN, STD, letterbox=GREY).matrices(16, 16)


# --- rotation noted in the file ---------------------------------------------------------------------


@pytest.fixture
def rotated_jpeg(tmp_path):
    """A JPEG stored upright, 40 wide and 24 high, whose EXIF data ask for a quarter turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 24))
    image.paste((255, 0, 0), (0, 0, 20, 24))
    image.save(tmp_path / "rotated.jpg", exif=exif, quality=95)
    return tmp_path / "rotated.jpg"


def test_rotation_is_carried_out_only_on_request(rotated_jpeg):
    with Image.open(rotated_jpeg) as image:
        stored = Preprocess(None, None, MEAN, STD)(image)
        turned = Preprocess(None, None, MEAN, STD, exif_transpose=True)(image)
    assert stored.shape == (3, 24, 40)
    assert turned.shape == (3, 40, 24)
    assert np.array_equal(turned, np.rot90(stored, k=-1, axes=(1, 2)))


def test_without_the_request_it_is_what_torchvision_sees(rotated_jpeg):
    preprocess = Preprocess(16, (16, 16), MEAN, STD)
    with Image.open(rotated_jpeg) as image:
        assert np.array_equal(preprocess(image), by_hand(preprocess, image))


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (0.5,)}, "need 3 value"),
        ({"std": (0.5, 0.5)}, "need 3 value"),
        ({"color": "gray"}, "need 1 value"),
        ({"std": (0.5, 0.0, 0.5)}, "above 0"),
        ({"std": (0.5, -1.0, 0.5)}, "above 0"),
        ({"std": (0.5, float("nan"), 0.5)}, "finite"),
        ({"mean": (0.5, float("inf"), 0.5)}, "finite"),
        ({"resize": 0}, "between 1 and"),
        ({"resize": -3}, "between 1 and"),
        ({"resize": 16385}, "between 1 and"),
        ({"resize": (8, 0)}, "between 1 and"),
        ({"crop": (0, 8)}, "between 1 and"),
        ({"crop": (8, 20_000_000)}, "between 1 and"),
        ({"letterbox": 114}, "letterbox needs resize"),
        ({"letterbox": 114, "resize": (8, 8)}, "letterbox needs resize"),
        ({"letterbox": 114, "crop": None}, "letterbox needs resize"),
        ({"letterbox": 114, "resize": None, "crop": None}, "letterbox needs resize"),
        ({"letterbox": 256, "resize": (8, 8), "crop": None}, "from 0 to 255"),
        ({"letterbox": -1, "resize": (8, 8), "crop": None}, "from 0 to 255"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Preprocess(**{"resize": 8, "crop": (8, 8), "mean": MEAN, "std": STD, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interpolation": "area"}, "interpolation must be 'nearest' or 'box'"),
        ({"antialias": False}, "antialias must be True"),
        ({"color": "brg"}, "color must be 'rgb' or 'bgr' or 'gray'"),
        ({"layout": "HWC"}, "layout must be 'NCHW' or 'NHWC'"),
        ({"dtype": "int8"}, "dtype must be 'float32' or 'uint8'"),
        ({"layout": "NHWC"}, "float32 and NCHW, or uint8 and NHWC"),
        ({"dtype": "uint8"}, "float32 and NCHW, or uint8 and NHWC"),
        ({"resize": 8.5}, "resize must be int"),
        ({"resize": [8, 8, 8]}, "resize must be"),
        ({"crop": 8}, "crop must be a list"),
        ({"mean": "half"}, "mean must be a list"),
        ({"exif_transpose": 1}, "exif_transpose must be bool"),
        ({"letterbox": 0.5}, "letterbox must be int"),
        ({"letterbox": True}, "letterbox must be int"),
        ({"std": [0.5, 0, 0.5]}, "above 0"),
    ],
)
def test_impossible_values_in_json_are_refused_by_name(changes, message):
    value = encode(Preprocess(8, (8, 8), MEAN, STD))
    with pytest.raises(ValueError, match=message):
        decode(Preprocess, {**value, **changes})


@pytest.mark.parametrize("resize", [None, 8, (6, 7)])
@pytest.mark.parametrize("crop", [None, (4, 5)])
def test_a_preprocessing_survives_json(resize, crop):
    preprocess = Preprocess(resize, crop, MEAN, STD, "bicubic", exif_transpose=True)
    assert decode(Preprocess, encode(preprocess)) == preprocess
    letterboxed = Preprocess((6, 7), None, MEAN, STD, letterbox=0)
    assert decode(Preprocess, encode(letterboxed)) == letterboxed


@pytest.mark.parametrize("size", [(1, 2000), (2000, 1)])
def test_a_picture_that_would_fill_the_memory_is_refused(size):
    with pytest.raises(ImageError, match="would grow to") as caught:
        Preprocess(256, (224, 224), MEAN, STD)(Image.new("RGB", size))
    assert "cut the picture" in str(caught.value)


def test_the_limit_on_growth_leaves_room_for_long_pictures():
    long = Image.new("L", (1000, 10))
    assert MAX_PIXELS > 256 * 25600
    assert Preprocess(256, (8, 8), (0.5,), (0.5,), color="gray")(long).shape == (1, 8, 8)
