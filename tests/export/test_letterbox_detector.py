"""A detector of YOLOv8's layout, its pictures letterboxed: from an ONNX file to drawn boxes."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

CELL, CELLS = 8, 8  # of the input, whose sides are 64
SIZE = (128, 64)  # of the pictures: half as large in the input, between two grey borders
BLUE = 20  # of both colours
NAMES = ("green", "red")
PREPROCESS = {
    "resize": [64, 64],
    "crop": None,
    "interpolation": "bilinear",
    "mean": [0.0, 0.0, 0.0],
    "std": [1.0, 1.0, 1.0],
    "letterbox": 114,
}


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    """Finds squares of one colour that fill a cell: a class score a cell, and the cell's own box."""
    area = CELL * CELL
    colours = np.array([[-1, 1, 0], [1, -1, 0]], np.float32)  # green above red, red above green
    weights = {
        "class_w": np.broadcast_to(colours[:, :, None, None] * (20 / area), (2, 3, CELL, CELL)).copy(),
        "class_b": np.full(2, -10, np.float32),
        "box_w": np.zeros((4, 3, CELL, CELL), np.float32),
        "box_b": np.full(4, -64 * BLUE / 255, np.float32),
        "cells": np.array([0, -1, CELLS * CELLS], np.int64),
    }
    weights["box_w"][:, 2] = 64 / area  # boxes of cells without an object go astray, as those of any network
    rows, columns = np.mgrid[0:CELLS, 0:CELLS].reshape(2, -1)
    centres = (np.stack([columns, rows]) + 0.5) * CELL
    weights["places"] = np.concatenate([centres, np.full_like(centres, CELL)])[None].astype(np.float32)
    strides = {"kernel_shape": [CELL, CELL], "strides": [CELL, CELL]}
    nodes = [
        helper.make_node("Conv", ["images", "class_w", "class_b"], ["logits"], **strides),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
        helper.make_node("Reshape", ["scores", "cells"], ["classes"]),
        helper.make_node("Conv", ["images", "box_w", "box_b"], ["moved"], **strides),
        helper.make_node("Reshape", ["moved", "cells"], ["moves"]),
        helper.make_node("Add", ["moves", "places"], ["boxes"]),
        helper.make_node("Concat", ["boxes", "classes"], ["output0"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "squares",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 6, CELLS * CELLS])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path_factory.mktemp("detector") / "squares.onnx"
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A COCO folder of pictures with squares, and the box and class of each square by picture."""
    folder, random = tmp_path_factory.mktemp("squares"), np.random.default_rng(1)
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    images, annotations, truths = [], [], []
    side = 2 * CELL  # in a picture, which is twice as large
    for number in range(1, 49):
        ground = tuple(int(value) for value in random.integers(0, 60, 3))
        picture, drawn = Image.new("RGB", SIZE, ground), []
        for cell in random.choice(32, 2, replace=False):
            left, top, kind = int(cell % 8) * side, int(cell // 8) * side, int(random.integers(2))
            colour = ((10, 240, BLUE), (240, 10, BLUE))[kind]
            ImageDraw.Draw(picture).rectangle((left, top, left + side - 1, top + side - 1), colour)
            drawn.append({"box": [left, top, left + side, top + side], "label": NAMES[kind]})
            box = {"bbox": [left, top, side, side], "iscrowd": 0, "area": side * side}
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": kind + 1, **box}
            )
        name = f"{number:03}.png"
        picture.save(folder / "val2017" / name)
        images.append({"id": number, "file_name": name, "width": SIZE[0], "height": SIZE[1]})
        truths.append(drawn)
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(NAMES)]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(value))
    return folder, truths


def test_a_letterboxed_detector_finds_its_objects_in_the_pictures(edgeproof, detector, squares, tmp_path):
    folder, truths = squares
    preprocess, bundle = tmp_path / "preprocess.json", tmp_path / "bundle"
    preprocess.write_text(json.dumps(PREPROCESS))
    task = ("--task", "detection:yolov8", "--preprocess", preprocess)
    done = edgeproof("export", detector, "--data", f"coco:{folder}", *task, "--out", bundle)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert manifest["preprocess"]["letterbox"] == 114
    assert {name: entry["accuracy"]["value"] for name, entry in manifest["models"].items()} == {
        "fp32": 100.0,
        "fp16": 100.0,
        "int8": 100.0,
    }
    pictures = sorted((folder / "val2017").iterdir())[:5]
    cpu = ("--provider", "cpu", "--annotate", tmp_path / "drawn")
    done = edgeproof("run", bundle, *pictures, *cpu)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for row, wanted in zip(rows, truths, strict=False):
        found = sorted(row["objects"], key=lambda each: each["box"])
        assert [each["label"] for each in found] == [
            each["label"] for each in sorted(wanted, key=lambda each: each["box"])
        ]
        away = np.array([each["box"] for each in found]) - sorted(each["box"] for each in wanted)
        assert np.abs(away).max() < 2  # a pixel of the input
    assert len(list((tmp_path / "drawn").iterdir())) == 5
