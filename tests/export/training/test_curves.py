"""Learning curves are a picture that opens, in whatever words the title is."""

import pytest
from PIL import Image

from edgeproof.export.training.curves import DOTS_PER_INCH, INCHES, draw_curves
from edgeproof.export.training.history import Epoch


@pytest.mark.parametrize("count", [1, 12])
def test_the_picture_opens_and_shows_something(tmp_path, draftless, count):
    epochs = [Epoch(n, 2 / n, 2.5 / n, 100 - 50 / n, 360, 0.1, 1.0) for n in range(1, count + 1)]
    draw_curves(epochs, "top-1", "net_$x on digits: 50 % $", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.format == "PNG"
        assert picture.size == tuple(side * DOTS_PER_INCH for side in INCHES)
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 10
    draftless(tmp_path, "curves.png")
