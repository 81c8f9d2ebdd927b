import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from edgeproof.runtime.errors import ImageError, InputError
from edgeproof.runtime.sources.readers import expand, picture_endings, read_image


def noise(mode="RGB", size=(40, 30)):
    random = np.random.default_rng(5)
    pixels = random.integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    if mode in ("RGBA", "CMYK"):
        return Image.frombytes(mode, size, pixels.tobytes())
    return Image.frombytes("RGBA", size, pixels.tobytes()).convert("RGB").convert(mode)


def save(image, path, **options):
    image.save(path, **options)
    return path


def refuse(path):
    """The message with which a picture is refused."""
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


def png(depth, colour_type, channels):
    """A PNG of 4x3 pixels, written by hand because Pillow writes no deep colour."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + bytes(range(4 * channels * depth // 8))
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 3, depth, colour_type, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(row * 3))
        + chunk(b"IEND", b"")
    )


# --- expand -----------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Three pictures, a note, and a folder with one more picture."""
    for name in ("b.png", "a.jpg", "C.PNG", "deep/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise().save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("notes")
    return tmp_path


def test_a_file_is_itself_whatever_its_ending(folder):
    assert expand([str(folder / "b.png"), str(folder / "notes.txt")]) == [
        folder / "b.png",
        folder / "notes.txt",
    ]


def test_a_folder_gives_its_pictures_and_those_below_in_order(folder):
    assert [path.name for path in expand([str(folder)])] == ["C.PNG", "a.jpg", "b.png", "d.png"]


def test_a_folder_of_class_folders_gives_all_their_pictures_class_by_class(tmp_path):
    for name in ("dog/2.png", "dog/1.png", "cat/9.png", "cat/deep/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        noise().save(tmp_path / name)
    found = [str(path.relative_to(tmp_path)) for path in expand([str(tmp_path)])]
    assert found == ["cat/9.png", "cat/deep/3.png", "dog/1.png", "dog/2.png"]


def test_what_is_no_picture_is_told_and_what_is_hidden_is_not_looked_at(folder):
    for name in (".ipynb_checkpoints/a.png", "__MACOSX/b.png", ".DS_Store", "deep/.hidden.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        noise().save(folder / name, "PNG")
    skipped = []
    names = [path.name for path in expand([str(folder)], skip=skipped.append)]
    assert names == ["C.PNG", "a.jpg", "b.png", "d.png"]
    assert [path.name for path in skipped] == ["notes.txt"]


def test_a_link_to_a_folder_above_is_no_loop(folder):
    (folder / "deep" / "up").symlink_to(folder)
    assert len(expand([str(folder)])) == 4


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.png", ["b.png"]),
        ("?.*", ["C.PNG", "a.jpg", "b.png"]),
        ("**/*.png", ["b.png", "d.png"]),
        ("*", ["C.PNG", "a.jpg", "b.png", "notes.txt"]),
    ],
)
def test_a_glob_gives_the_files_that_match_in_order(folder, pattern, names):
    assert [path.name for path in expand([str(folder / pattern)])] == names


def test_sources_keep_the_order_in_which_they_were_given(folder):
    names = [path.name for path in expand([str(folder / "b.png"), str(folder), str(folder / "b.png")])]
    assert names == ["b.png", "C.PNG", "a.jpg", "b.png", "d.png", "b.png"]


def test_a_file_whose_name_looks_like_a_glob_is_found(folder):
    strange = save(noise(), folder / "b[1]*.png")
    assert expand([str(strange)]) == [strange]


@pytest.mark.parametrize("name", ["absent.jpg", "*.gif", "absent/*.png", "[", "dee?"])
def test_a_source_that_is_not_there_is_refused(folder, name):
    with pytest.raises(InputError, match="There is nothing at") as caught:
        expand([str(folder / "b.png"), str(folder / name)])
    assert name in str(caught.value)
    assert "a glob that matches some" in str(caught.value)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no pictures") as caught:
        expand([str(tmp_path)])
    assert "an empty folder" in str(caught.value)


def test_a_folder_of_other_things_is_refused_with_a_hint(tmp_path):
    for name in ("notes.txt", "data.csv", "picture"):
        (tmp_path / name).write_text("rubbish")
    (tmp_path / "deep").mkdir()
    with pytest.raises(InputError, match="holds no pictures") as caught:
        expand([str(tmp_path)])
    assert "3 other file(s)" in str(caught.value)
    assert "a folder that holds some" in str(caught.value)


# --- what is read -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "picture.png"),
        ("RGB", "picture.jpg"),
        ("RGB", "picture.bmp"),
        ("RGB", "picture.tiff"),
        ("RGB", "picture.webp"),
        ("RGBA", "picture.png"),
        ("LA", "picture.png"),
        ("L", "picture.png"),
        ("L", "picture.jpg"),
        ("1", "picture.png"),
        ("P", "picture.png"),
        ("P", "picture.gif"),
        ("CMYK", "picture.jpg"),
    ],
)
def test_ordinary_pictures_come_as_pillow_reads_them(tmp_path, mode, name):
    path = save(noise(mode), tmp_path / name)
    image = read_image(path)
    assert image.mode == mode
    with Image.open(path) as expected:
        assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_a_palette_with_transparency_is_read(tmp_path):
    image = read_image(save(noise("P"), tmp_path / "picture.png", transparency=3))
    assert image.mode == "P"
    assert image.info["transparency"] == 3


def test_the_ending_does_not_matter(tmp_path):
    assert read_image(save(noise(), tmp_path / "picture.jpg", format="PNG")).format == "PNG"


def test_an_animation_gives_its_first_frame(tmp_path):
    red, blue = (Image.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    path = save(red, tmp_path / "moving.gif", save_all=True, append_images=[blue])
    assert read_image(path).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


# --- what is refused --------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    assert "does not exist" in refuse(tmp_path / "absent.jpg")


@pytest.mark.parametrize("data", [b"", b"this is text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", bytes(1000)])
def test_what_is_no_picture(tmp_path, data):
    (tmp_path / "picture.jpg").write_bytes(data)
    assert "is not a picture that Pillow can read" in refuse(tmp_path / "picture.jpg")


def test_a_folder(tmp_path):
    refuse(tmp_path)


@pytest.mark.parametrize("name", ["picture.jpg", "picture.png", "picture.bmp", "picture.gif", "picture.tiff"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_truncated_picture(tmp_path, name, share):
    path = save(noise("P" if name.endswith("gif") else "RGB"), tmp_path / name)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    message = refuse(path)
    assert "is damaged or truncated" in message or "is not a picture" in message


def test_a_png_with_a_wrong_checksum(tmp_path):
    path = save(noise(), tmp_path / "picture.png")
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 50] ^= 0xFF
    path.write_bytes(data)
    assert "is damaged or truncated" in refuse(path)


def test_16_bit_gray(tmp_path):
    deep = Image.frombytes("I;16", (4, 3), bytes(range(24)))
    for name in ("picture.png", "picture.tiff"):
        message = refuse(save(deep, tmp_path / name))
        assert "more than 8 bits a channel" in message
        assert "picture-8bit.png" in message


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_of_any_colour(tmp_path, colour_type, channels):
    path = tmp_path / "picture.png"
    path.write_bytes(png(16, colour_type, channels))
    assert "more than 8 bits a channel" in refuse(path)


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_8_bit_png_of_any_colour_is_read(tmp_path, colour_type, channels):
    path = tmp_path / "picture.png"
    path.write_bytes(png(8, colour_type, channels))
    assert np.asarray(read_image(path)).size == 4 * 3 * channels


@pytest.mark.parametrize("mode", ["I", "F"])
def test_32_bit_tiff(tmp_path, mode):
    assert "more than 8 bits a channel" in refuse(save(Image.new(mode, (4, 3), 1), tmp_path / "picture.tiff"))


@pytest.mark.parametrize(
    "kind",
    [
        "P5",
        "P6",
    ],
)
def test_16_bit_netpbm(tmp_path, kind):
    channels = {"P5": 1, "P6": 3}[kind]
    path = tmp_path / "picture.ppm"
    path.write_bytes(f"{kind} 4 3 65535\n".encode() + bytes(range(4 * 3 * 2 * channels)))
    assert "more than 8 bits a channel" in refuse(path)


@pytest.mark.parametrize("excess", ["warning", "error"])
def test_a_decompression_bomb(tmp_path, monkeypatch, excess):
    path = save(noise(size=(40, 30)), tmp_path / "picture.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", {"warning": 1000, "error": 100}[excess])
    if excess == "error":
        assert "is too large to be a picture" in refuse(path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            assert read_image(path).size == (40, 30)


def damaged_avif(path):
    noise().save(path, format="AVIF")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start:] = bytes(len(data) - start)
    path.write_bytes(data)
    return path


@pytest.mark.skipif(".avif" not in Image.registered_extensions(), reason="this Pillow reads no AVIF")
def test_a_damaged_avif(tmp_path):
    assert "is damaged or truncated" in refuse(damaged_avif(tmp_path / "picture.avif"))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"])
def test_random_damage_gives_a_picture_or_a_refusal_and_nothing_else(tmp_path, format):
    random = np.random.default_rng(13)
    whole = save(noise("P" if format == "GIF" else "RGB"), tmp_path / "whole", format=format).read_bytes()
    path = tmp_path / "picture"
    refused = 0
    for _ in range(80):
        data = bytearray(whole)
        for position in random.integers(0, min(len(data), 200), 3):
            data[position] = random.integers(0, 256)
        path.write_bytes(data[: random.integers(len(data) // 2, len(data) + 1)])
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                assert read_image(path).size
        except ImageError:
            refused += 1
    assert refused > 0


@pytest.mark.parametrize("name", ["picture.eps", "picture.jpg"])
def test_an_eps_is_no_picture_whatever_it_is_called(tmp_path, name):
    """Pillow would start another program, Ghostscript, to read it."""
    Image.new("RGB", (8, 8), "red").save(tmp_path / name, "EPS")
    with pytest.raises(ImageError, match="is not a picture that Pillow can read"):
        read_image(tmp_path / name)
    assert not {".eps", ".ps"} & picture_endings()
