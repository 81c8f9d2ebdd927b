"""Networks that others exported, and inputs for them, for `benchmarks/foreign.py`.

The onnx wheel holds nine old ones from Caffe, opset 9, whose weights are all one constant: here they get
random weights, for as they come they answer every picture alike. A folder may hold PaddleOCR's text
detector and recogniser with their real weights; their inputs are pages and lines of text, rendered here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image, ImageDraw, ImageFont

from edgeproof.calibration.dataset.load import AS_DECLARED, InputShape
from edgeproof.calibration.onnx_graph.segments import live_before
from edgeproof.calibration.recovery.activations import Activations
from edgeproof.export.data import digit_scenes

WORDS = (
    "camera proof of every step engine weight tensor edge night road station Graz 2026 No. 48 exit left "
    "open closed speed 70 km/h parking tickets Saturday gate B12 platform water coffee sugar 3.99 EUR"
)
LIGHT_INPUTS = 16  # random weights show whether a graph goes through, not what it costs
LIGHT = (
    "squeezenet",
    "shufflenet",
    "inception_v1",
    "inception_v2",
    "resnet50",
    "densenet121",
    "zfnet512",
    "bvlc_alexnet",
    "vgg19",
)
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
SETTLING = 4  # pictures
PAGE_SIDE, LINE_HEIGHT, LINE_WIDTH = 320, 48, 192


@dataclass(frozen=True)
class Foreign:
    """A network and what it is tried with.

    Attributes:
        name: of the row.
        weights: "real" or "random".
        load: reads the network.
        inputs: makes so many preprocessed samples, shape (N, ...).
        count: how many are made; three in four calibrate, the others judge.
        task: as it is typed after --task; None for what the outputs suggest.
        shape: of the input, where the file leaves it open.
    """

    name: str
    weights: str
    load: Callable[[], onnx.ModelProto]
    inputs: Callable[[int], NDArray[np.float32]]
    count: int
    task: str | None = None
    shape: InputShape = AS_DECLARED


def all_models(folder: Path | None) -> Iterator[Foreign]:
    """Those of the folder that are there, then those of the onnx wheel, the cheapest first."""
    yield from trained(folder) if folder else ()
    light = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    for name in LIGHT:
        path = light / f"light_{name}.onnx"
        yield Foreign(
            path.stem, "random", lambda path=path: with_random_weights(onnx.load(path)), scenes, LIGHT_INPUTS
        )


def trained(folder: Path) -> Iterator[Foreign]:
    """PaddleOCR's text detector and recogniser."""
    detector, recogniser = folder / "text_detection.onnx", folder / "text_recognition.onnx"
    if detector.is_file():
        sides = InputShape((3, PAGE_SIDE, PAGE_SIDE))
        task = "segmentation,threshold=0.3"
        yield Foreign(detector.stem, "real", lambda: onnx.load(detector), pages, 96, task, sides)
    if recogniser.is_file():
        sides = InputShape((3, LINE_HEIGHT, LINE_WIDTH))
        yield Foreign(recogniser.stem, "real", lambda: onnx.load(recogniser), lines, 192, shape=sides)


def with_random_weights(model: onnx.ModelProto, seed: int = 0) -> onnx.ModelProto:
    """The network with weights drawn as for ReLU (He et al., arXiv 1502.01852) in place of its constants."""
    random = np.random.default_rng(seed)
    shapes = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    constant = {n.output[0]: shapes[n.input[0]] for n in model.graph.node if n.op_type == "ConstantOfShape"}
    uses = {
        name: (node.op_type, position)
        for node in model.graph.node
        for position, name in enumerate(node.input)
        if name in constant
    }
    drawn = {name: _draw(random, *uses[name], tuple(map(int, shape))) for name, shape in constant.items()}
    kept = [node for node in model.graph.node if node.output[0] not in drawn]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    tensors = [numpy_helper.from_array(value, name) for name, value in drawn.items()]
    model.graph.initializer.extend(tensors)
    settle(model, scenes(SETTLING))
    for tensor in tensors:  # as in those days
        info = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(info)
    return model


def settle(model: onnx.ModelProto, pictures: NDArray[np.float32]) -> None:
    """Give each batch norm the mean and variance of what it meets: else one picture is like another."""
    listed, version = list(model.graph.input), model.ir_version
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    del model.graph.input[:]
    model.graph.input.extend(value for value in listed if value.name not in tensors)
    model.ir_version = 4  # from which on weights need not be inputs
    model.graph.value_info.extend(onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info)
    activations = Activations(model, pictures)
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            activations.advance(model, live_before(model, node.output[0]))
            met = np.concatenate(list(activations.values(model, node.input[0])))
            for name, value in zip(node.input[3:], (met.mean((0, 2, 3)), met.var((0, 2, 3))), strict=True):
                tensors[name].CopyFrom(numpy_helper.from_array(value, name))
    del model.graph.input[:]
    model.graph.input.extend(listed)
    model.graph.ClearField("value_info")
    model.ir_version = version


def _draw(
    random: np.random.Generator, kind: str, position: int, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    if kind in ("Conv", "Gemm", "MatMul") and position == 1:
        taken = prod(shape[1:]) if kind == "Conv" else min(shape)
        return random.normal(0, np.sqrt(2 / taken), shape).astype(np.float32)
    if kind == "BatchNormalization":  # scale, offset, mean, variance
        centre, spread = ((1.0, 0.1), (0.0, 0.1), (0.0, 0.1), (1.0, 0.1))[position - 1]
        return (centre + spread * random.uniform(-1, 1, shape)).astype(np.float32)
    centre = 1.0 if kind == "Mul" else 0.0
    return (centre + 0.1 * random.uniform(-1, 1, shape)).astype(np.float32)


def scenes(count: int) -> NDArray[np.float32]:
    """Digits on textured grounds, enlarged: shape (N, 3, 224, 224)."""
    split = digit_scenes.load("detection").calibration
    pictures = [split.load(position).resize((224, 224)) for position in range(count)]
    return np.stack([_normalized(picture, MEAN, STD) for picture in pictures])


def pages(count: int) -> NDArray[np.float32]:
    """Pages with lines of text in several sizes and colours: BGR, shape (N, 3, 320, 320)."""
    random = np.random.default_rng(1)
    return np.stack([_normalized(_bgr(_page(random)), MEAN, STD) for _ in range(count)])


def lines(count: int) -> NDArray[np.float32]:
    """One line of text each, values -1..1: BGR, shape (N, 3, 48, 192)."""
    random = np.random.default_rng(2)
    half = np.full(3, 0.5, np.float32)
    return np.stack([_normalized(_bgr(_line(random)), half, half) for _ in range(count)])


def _normalized(
    picture: Image.Image, mean: NDArray[np.float32], std: NDArray[np.float32]
) -> NDArray[np.float32]:
    values = (np.asarray(picture, np.float32) / 255 - mean) / std
    return np.ascontiguousarray(values.transpose(2, 0, 1), np.float32)


def _bgr(picture: Image.Image) -> Image.Image:
    return Image.merge("RGB", picture.split()[::-1])


def _page(random: np.random.Generator) -> Image.Image:
    page = Image.new("RGB", (PAGE_SIDE, PAGE_SIDE), _colour(random, 150, 256))
    draw, top = ImageDraw.Draw(page), int(random.integers(5, 40))
    while top < PAGE_SIDE - 40:
        size = int(random.integers(12, 36))
        left = int(random.integers(5, 90))
        draw.text((left, top), _text(random, 4), _colour(random, 0, 110), ImageFont.load_default(size))
        top += size + int(random.integers(6, 50))
    return page


def _line(random: np.random.Generator) -> Image.Image:
    line = Image.new("RGB", (LINE_WIDTH, LINE_HEIGHT), _colour(random, 150, 256))
    font = ImageFont.load_default(int(random.integers(20, 32)))
    ImageDraw.Draw(line).text(
        (6, int(random.integers(4, 12))), _text(random, 2), _colour(random, 0, 110), font
    )
    return line


def _text(random: np.random.Generator, most: int) -> str:
    return " ".join(random.choice(WORDS.split(), int(random.integers(1, most + 1))))


def _colour(random: np.random.Generator, low: int, high: int) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in random.integers(low, high, 3))
    return red, green, blue
