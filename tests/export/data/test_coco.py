"""`coco:DIR`: small sets written to disk as COCO lays them out."""

import json

import numpy as np
import pytest
from PIL import Image

from edgeproof.export.data.catalog import find
from edgeproof.runtime.errors import DataError
from edgeproof.runtime.tasks.segmentation import NO_LABEL

SIZE = (40, 30)
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def square(left, top, side):
    return [[left, top, left + side, top, left + side, top + side, left, top + side]]


def found(image, category, box, segmentation=None, crowd=0):
    outline = segmentation if segmentation is not None else square(box[0], box[1], box[2])
    return {
        "image_id": image,
        "category_id": category,
        "bbox": box,
        "iscrowd": crowd,
        "segmentation": outline,
    }


@pytest.fixture
def coco(tmp_path):
    """coco(annotations, part="val2017", count=8, **changes): writes a part, and gives its folder."""

    def write(annotations=(), part="val2017", count=8, categories=CATEGORIES, images=None):
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / part).mkdir(exist_ok=True)
        listed = []
        for number in range(1, count + 1):
            Image.new("RGB", SIZE, (number, 0, 0)).save(tmp_path / part / f"{number:03}.png")
            listed.append(
                {"id": number, "file_name": f"{number:03}.png", "width": SIZE[0], "height": SIZE[1]}
            )
        value = {"images": images or listed, "annotations": list(annotations), "categories": categories}
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(value))
        return f"coco:{tmp_path}"

    return write


def truths(data):
    """Those of all samples, by the red of their pictures, which is their number."""
    parts = [part for part in (data.calibration, data.evaluation) if part is not None]
    return {part.load(i).getpixel((0, 0))[0]: part.labels[i] for part in parts for i in range(len(part))}


def test_boxes_are_corners_and_classes_are_in_the_order_of_their_ids(coco):
    boxes = [found(1, 7, [2, 3, 10, 8]), found(1, 3, [30, 20, 20, 20], crowd=1), found(2, 3, [0, 0, 5, 5])]
    data = find(coco(boxes), "detection")
    assert (data.labels, data.task) == (("cat", "dog"), "detection")
    truth = truths(data)[1]
    assert truth.boxes.tolist() == [[2, 3, 12, 11], [30, 20, 40, 30]]  # cut at the picture's edge
    assert truth.classes.tolist() == [1, 0]
    assert truth.ignore.tolist() == [False, True]
    assert len(truths(data)[3]) == 0


def test_without_a_part_to_train_on_some_of_the_others_calibrate(coco):
    data = find(coco([found(1, 7, [2, 3, 10, 8])]), "detection")
    assert data.train is None
    assert (len(data.calibration), len(data.evaluation)) == (2, 6)
    assert len(truths(data)) == 8  # no sample is in both


def test_with_a_part_to_train_on_it_calibrates(coco):
    coco([found(1, 7, [2, 3, 10, 8])], part="train2017", count=5)
    data = find(coco([found(1, 7, [2, 3, 10, 8])]), "detection")
    assert (len(data.train), len(data.evaluation)) == (5, 8)


def test_polygons_become_a_map_with_a_background(coco):
    data = find(coco([found(1, 7, [2, 3, 10, 10]), found(1, 3, [20, 20, 5, 5], crowd=1)]), "segmentation")
    assert data.labels == ("background", "cat", "dog")
    mask = truths(data)[1]
    assert mask.shape == SIZE[::-1]
    assert (mask[5:10, 4:10] == 2).all()
    assert (mask[21:24, 21:24] == NO_LABEL).all()
    assert mask[0, 0] == 0


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_are_those_of_pycocotools(coco, compressed, seed):
    masks = pytest.importorskip("pycocotools.mask")
    wanted = np.random.default_rng(seed).random(SIZE[::-1]) < 0.4
    encoded = masks.encode(np.asfortranarray(wanted.astype(np.uint8)))
    counts = encoded["counts"].decode()
    if not compressed:
        flat = wanted.T.ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *([0] if flat[0] else []), *edges, len(flat)]).tolist()
    outline = {"size": list(SIZE[::-1]), "counts": counts}
    data = find(coco([found(1, 7, [0, 0, 40, 30], outline)]), "segmentation")
    assert np.array_equal(truths(data)[1] == 2, wanted)


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (found(1, 9, [0, 0, 5, 5]), "has a category that is not there"),
        (found(1, 7, [0, 0, 5]), "has no box"),
        ({"image_id": 1}, "does not hold COCO annotations"),
    ],
)
def test_annotations_that_cannot_be_used_are_refused_at_once(coco, annotation, message):
    with pytest.raises(DataError, match=message):
        find(coco([annotation]), "detection")


@pytest.mark.parametrize("box", [[0, 0, -5, 5], [0, 0, float("nan"), 5]])
def test_boxes_that_are_none_are_refused_by_the_name_of_their_picture(coco, box):
    data = find(coco([found(1, 7, box)]), "detection")
    with pytest.raises(DataError, match=r"A box of 001.png cannot be one"):
        truths(data)


@pytest.mark.parametrize(
    "outline", [{"size": [30, 41], "counts": [1230]}, {"size": [30, 40], "counts": [100]},
                {"size": [30, 40], "counts": [-1, 1201]}]
)  # fmt: skip
def test_masks_of_another_size_are_refused(coco, outline):
    data = find(coco([found(1, 7, [0, 0, 5, 5], outline)]), "segmentation")
    with pytest.raises(DataError, match="has another size than the picture"):
        truths(data)


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "absent.png", ""])
def test_names_that_leave_the_folder_or_are_not_there_are_refused(coco, name):
    images = [{"id": 1, "file_name": name, "width": 40, "height": 30}]
    with pytest.raises(DataError, match="annotations name"):
        find(coco([], images=images), "detection")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": 3}', "[" * 100_000])
def test_damaged_annotations_are_refused(coco, tmp_path, text):
    name = coco([found(1, 7, [2, 3, 10, 8])])
    (tmp_path / "annotations" / "instances_val2017.json").write_text(text)
    with pytest.raises(DataError, match="does not hold COCO annotations"):
        find(name, "detection")


def test_a_folder_without_annotations_and_too_few_pictures_are_refused(coco, tmp_path):
    with pytest.raises(DataError, match="holds no COCO annotations"):
        find(f"coco:{tmp_path}", "detection")
    with pytest.raises(DataError, match="too few pictures"):
        find(coco([], count=3), "detection")
    with pytest.raises(DataError, match="cannot be used"):
        find(coco([], categories=[]), "detection")


def test_parts_with_other_categories_are_refused(coco):
    coco([], part="train2017", categories=CATEGORIES[:1])
    with pytest.raises(DataError, match="other categories"):
        find(coco([]), "detection")


def test_there_are_no_classes_of_whole_pictures(coco):
    with pytest.raises(DataError, match="has no truth for classification"):
        find(coco([]), "classification")
