"""Reading files: pictures, and tensors in .npy files; and finding them in folders and by globs."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..bundle.preprocess import DEEP_MODES
from ..bundle.shapes import require_fit
from ..errors import ImageError, InputError, TensorError, gist

# Formats that Pillow decodes by itself: an EPS would start another program, whatever its file is called.
FORMATS = {"AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TGA", "TIFF", "WEBP"}

MAX_PIXELS = 1 << 27  # as RGBA half a gigabyte; the largest cameras give 100 to 120 million
TENSOR_ENDING = ".npy"
MACOS_LEFTOVERS = "__MACOSX"  # what macOS puts into archives


def expand(
    sources: Iterable[str],
    endings: Collection[str] | None = None,
    skip: Callable[[Path], object] | None = None,
) -> list[Path]:
    """Turn files, folders and globs into files, each source's in sorted order.

    Args:
        sources: what the user named.
        endings: endings, in lower case and with their dot, of the files that a folder gives, those in folders
            below it among them; None for those of pictures.
        skip: is told of each other file that a folder holds; hidden ones are passed over.

    Raises:
        InputError: a source does not exist, matches nothing, or is a folder without such files.
    """
    endings = picture_endings() if endings is None else endings
    paths: list[Path] = []
    for source in sources:
        paths.extend(_expand_one(source, endings, skip or (lambda path: None)))
    return paths


def picture_endings() -> set[str]:
    """Endings, in lower case and with their dot, of the formats that can be read here."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in _formats()}


def _formats() -> list[str]:
    Image.init()
    return sorted(FORMATS & set(Image.OPEN))


def _expand_one(source: str, endings: Collection[str], skip: Callable[[Path], object]) -> list[Path]:
    path = Path(source)
    if not source:
        raise InputError("A source is empty.", wanted="a picture, a folder of pictures, or a glob")
    if path.is_dir():
        return _files_in(path, endings, skip)
    if path.exists():
        return [path]
    matches = sorted(Path(match) for match in glob.glob(source, recursive=True) if Path(match).is_file())
    if not matches:
        raise InputError(
            f"There is nothing at {source}.",
            wanted="a file, a folder, or a glob that matches some",
        )
    return matches


def _files_in(folder: Path, endings: Collection[str], skip: Callable[[Path], object]) -> list[Path]:
    files = sorted(visible_files(folder))
    chosen = [file for file in files if file.suffix.lower() in endings]
    for file in set(files).difference(chosen):
        skip(file)
    if not chosen:
        what = "tensors (.npy)" if set(endings) == {TENSOR_ENDING} else "pictures"
        raise InputError(
            f"The folder {folder} holds no {what}.",
            got=f"{len(files)} other file(s)" if files else "an empty folder",
            todo="name the files themselves, or a folder that holds some",
        )
    return chosen


def visible_files(folder: Path) -> Iterator[Path]:
    """Files in and below a folder, but for hidden ones. Links to folders may be loops: none is followed."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(parent) / name for name in files if not is_hidden(name))


def is_hidden(name: str) -> bool:
    """Whether a file or folder is there for a program's own use: .DS_Store, .ipynb_checkpoints, __MACOSX."""
    return name.startswith(".") or name == MACOS_LEFTOVERS


def read_image(path: Path) -> Image.Image:
    """Read one picture whole.

    CMYK, palette and alpha pictures come as they are; `Preprocess` converts them to the network's
    colours as torchvision's loaders do (alpha is dropped).

    Raises:
        ImageError: missing, not a picture, truncated, absurdly large, or deeper than 8 bits a channel.
    """
    return decode_image(path, str(path))


def decode_image(file: Path | IO[bytes], name: str) -> Image.Image:
    """Read one picture whole from a path or an open file, which errors call `name`; as `read_image`."""
    try:
        with Image.open(file, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError(
                    f"{name} is too large to be a picture.",
                    wanted=f"at most {MAX_PIXELS} pixels",
                    got=f"{image.width} x {image.height}",
                )
            if _is_deep(image):
                raise ImageError(
                    f"{name} holds more than 8 bits a channel, and cutting them would change the picture.",
                    todo=f"convert it first, for example: convert {name} -depth 8 {Path(name).stem}-8bit.png",
                )
            image.load()
            return image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a picture that Pillow can read.") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large to be a picture: {error}") from error
    except FileNotFoundError as error:
        raise ImageError(f"{name} does not exist.") from error
    except Exception as error:  # Pillow fails on damaged files in more ways than it documents
        raise ImageError(f"{name} is damaged or truncated: {gist(error)}") from error


def read_tensors(path: Path, shape: tuple[int | str, ...], dtype: str) -> NDArray[Any]:
    """Read inputs from a .npy file, mapped into memory and not loaded whole.

    Args:
        path: one input, or several along a first axis more.
        shape: of one input; a string stands for an axis of any length.
        dtype: numpy's name of their type.

    Returns:
        An array of shape (N, *shape).

    Raises:
        TensorError: missing, damaged, of objects, or of another shape or dtype.
    """
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy fails on hostile files in more ways than it documents
        raise TensorError(f"{path} is not a .npy file that can be read: {gist(error)}") from error
    if not isinstance(found, np.ndarray):
        raise TensorError(f"{path} holds several arrays.", wanted="a .npy file, which holds one")
    message = f"{path} does not hold an input of the model, or several along a first axis more."
    if found.ndim == len(shape):
        require_fit(found, shape, dtype, TensorError, message)
        return found[None]
    require_fit(found, (None, *shape), dtype, TensorError, message)
    return found


def _is_deep(image: Image.Image) -> bool:
    """Whether the file holds more than 8 bits a channel, even where Pillow would silently give 8."""
    if image.mode in DEEP_MODES:
        return True
    arguments = [argument for tile in getattr(image, "tile", ()) for argument in _as_tuple(tile[3])]
    deep_raw_mode = any(isinstance(argument, str) and ";16" in argument for argument in arguments)
    largest = max((argument for argument in arguments if isinstance(argument, int)), default=0)
    return deep_raw_mode or (image.format == "PPM" and largest > 255)


def _as_tuple(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)
