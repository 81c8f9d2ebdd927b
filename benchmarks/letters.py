"""`letters`: 22,440 pictures of letters and digits in 20 fonts on textured grounds, 34 classes, for training.

    python benchmarks/letters.py DIR
    edgeproof train benchmarks/letters.py:mobilenet_v3_small --input 3x64x64 --data imagefolder:DIR

A character is turned, stretched, coloured and blurred, another may cover its edge, and noise lies over all.
O and I are left out: 0 and 1 look the same. The fonts are those of matplotlib.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import nn
from torchvision import models

CHARACTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
SIDE = 73  # of which 64 pixels are cut out of the middle
PARTS = {"train": 600, "val": 60}  # pictures of each character
FONTS = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral", "cmb10", "cmr10", "cmss10", "cmtt10")
INK = 96  # side in pixels of the square in which a character is drawn


def main() -> None:
    """Write the pictures, a folder a part and a character."""
    write(Path(sys.argv[1]))


def write(folder: Path) -> None:
    """Write all pictures; the same ones each time."""
    for part, count in PARTS.items():
        for index, character in enumerate(CHARACTERS):
            place = folder / part / character
            place.mkdir(parents=True, exist_ok=True)
            for number in range(count):
                random = np.random.default_rng((list(PARTS).index(part), index, number))
                picture(character, random).save(place / f"{number:03d}.png")


def picture(character: str, random: np.random.Generator) -> Image.Image:
    """One picture, RGB, SIDE x SIDE."""
    canvas = _ground(random)
    if random.random() < 0.5:  # a neighbour, mostly outside
        other = str(random.choice(list(CHARACTERS)))
        _lay(canvas, other, random, float(random.choice([-1, 1]) * random.uniform(0.75, 0.95)))
    _lay(canvas, character, random, float(random.uniform(-0.12, 0.12)))
    values = np.clip(np.rint(canvas + random.normal(0, random.uniform(2, 14), canvas.shape)), 0, 255)
    found = Image.fromarray(values.astype(np.uint8))
    return found.filter(ImageFilter.GaussianBlur(float(random.uniform(0, 1.1))))


def mobilenet_v3_small(num_classes: int) -> nn.Module:
    """torchvision's, with random weights."""
    return models.mobilenet_v3_small(num_classes=num_classes)


def mobilenet_v3_large(num_classes: int) -> nn.Module:
    """torchvision's, with random weights."""
    return models.mobilenet_v3_large(num_classes=num_classes)


def _lay(canvas: NDArray[np.float64], character: str, random: np.random.Generator, shift: float) -> None:
    """Lay a character on the canvas, moved sideways by a share of its side."""
    ink = Image.new("L", (INK, INK))
    font = _font(str(random.choice(_font_files())), int(random.integers(56, 78)))
    ImageDraw.Draw(ink).text((INK / 2, INK / 2), character, fill=255, font=font, anchor="mm")
    ink = ink.rotate(float(random.uniform(-25, 25)), Image.Resampling.BICUBIC)
    width, height = (round(SIDE * random.uniform(0.75, 1.25)) for _ in range(2))
    ink = ink.resize((width, height), Image.Resampling.BICUBIC)
    whole = Image.new("L", (SIDE, SIDE))
    left = round((SIDE - width) / 2 + shift * SIDE)
    whole.paste(ink, (left, round((SIDE - height) / 2 + random.uniform(-0.1, 0.1) * SIDE)))
    share = np.asarray(whole, np.float64)[..., None] / 255
    contrast = random.uniform(40, 150) * (1 if random.random() < 0.5 else -1)
    colour = canvas.mean(axis=(0, 1)) + contrast + random.uniform(-35, 35, 3)
    canvas += share * (colour - canvas)


def _ground(random: np.random.Generator) -> NDArray[np.float64]:
    """Smooth colour with stripes of some direction and wave length."""
    middle = random.uniform(70, 185)
    coarse = np.clip(middle + random.uniform(-50, 50, (4, 4, 3)), 0, 255).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    rows, columns = np.mgrid[0:SIDE, 0:SIDE]
    angle, length = random.uniform(0, np.pi), random.uniform(5, 30)
    waves = np.sin(2 * np.pi * (columns * np.cos(angle) + rows * np.sin(angle)) / length)
    return np.asarray(smooth, np.float64) + random.uniform(0, 25) * waves[..., None]


@cache
def _font_files() -> list[str]:
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    files = [path for path in folder.glob("*.ttf") if path.name.startswith(FONTS)]
    return sorted(str(path) for path in files if "Display" not in path.name)  # which hold few characters


@cache
def _font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size)


if __name__ == "__main__":
    main()
