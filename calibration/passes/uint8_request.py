"""What is asked of a model that takes pixels, and how a device prepares pictures for it."""

from __future__ import annotations

from dataclasses import dataclass

from ...runtime.bundle.preprocess import Color, Preprocess
from ...runtime.errors import InputError

RESIZE = ("pillow", "device")
LONGEST_SIDE = 8192  # pixels of a frame: 8K is 7680
COLORS: tuple[Color, ...] = ("rgb", "bgr")


@dataclass(frozen=True)
class Uint8Request:
    """What is asked of a model that takes pixels.

    Attributes:
        channels: their order, "rgb" or "bgr"; None for the order in which the network was trained.
        source: (height, width) of the frames, where the model is to resize and crop them too; None where not.
    """

    channels: Color | None = None
    source: tuple[int, int] | None = None


def uint8_request(
    wanted: bool, channels: str | None = None, resize: str = "pillow", source: str | None = None
) -> Uint8Request | None:
    """The request that --uint8-input, --channels, --resize and --source make; None without the first.

    Raises:
        InputError: there is no such order of channels, way to resize or size; or an option lacks another,
            without which it has no meaning.
    """
    if resize not in RESIZE:
        raise InputError(f"--resize {resize} is not known.", available=", ".join(RESIZE))
    given = {"--channels": channels, "--resize device": resize == "device" or None, "--source": source}
    orphans = [option for option, value in given.items() if value is not None and not wanted]
    if orphans:
        raise InputError(
            f"{orphans[0]} has no meaning for a model that takes floats.", todo="add --uint8-input"
        )
    if (resize == "device") != (source is not None):
        raise InputError(
            "A model that resizes frames itself is made for frames of one size.",
            wanted="--resize device and --source, or neither",
            todo="--resize device --source 720x1280   (height and width of the camera's frames)",
        )
    chosen = next((color for color in COLORS if color == channels), None)
    if channels is not None and chosen is None:
        raise InputError(f"--channels {channels} is not known.", available=", ".join(COLORS))
    return Uint8Request(chosen, _sides(source) if source else None) if wanted else None


def _sides(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not all(
        part.isascii() and part.isdigit() and 0 < int(part) <= LONGEST_SIDE for part in (height, width)
    ):
        raise InputError(
            f"--source {text} is no size of frames.",
            wanted=f"HxW, such as 720x1280, of at most {LONGEST_SIDE} pixels a side",
        )
    return int(height), int(width)


def served_preprocess(request: Uint8Request, trained: Preprocess | None) -> Preprocess:
    """How a device prepares a picture for the model that is asked for.

    Args:
        request: what is asked for.
        trained: how the network's own inputs are made of pictures.

    Raises:
        InputError: it takes no pictures, its normalization is in the graph already, its pictures are grey
            and an order of colours was asked for, or it is to resize frames that get a letterbox.
    """
    if trained is None:
        raise InputError(
            "A model that takes tensors cannot take pixels.",
            wanted="a model of pictures, and how its inputs were normalized",
            todo="leave --uint8-input out, or give the training's preprocessing with --preprocess FILE.json",
        )
    if trained.dtype != "float32":
        raise InputError(
            "The preprocessing is that of a model that takes pixels already.",
            wanted='the training\'s, with "dtype": "float32" and "layout": "NCHW"',
            got=f'"dtype": "{trained.dtype}" and "layout": "{trained.layout}"',
        )
    if request.channels is not None and trained.color == "gray":
        raise InputError(
            "The model takes grey pictures, which have one channel.", todo="leave --channels out"
        )
    if request.source is not None and trained.letterbox is not None:
        raise InputError(
            "A model cannot put frames into a letterbox itself.",
            wanted="--resize pillow, or a preprocessing that stretches or crops",
            got=f'"letterbox": {trained.letterbox}',
            todo="leave --resize and --source out",
        )
    return trained.for_pixels(request.channels, request.source)
