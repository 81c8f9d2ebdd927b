"""`voc:DIR`: small sets written to disk as PASCAL VOC lays them out."""

import numpy as np
import pytest
from PIL import Image

from edgeproof.export.data.catalog import find
from edgeproof.runtime.errors import DataError

OBJECT = (
    "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{box[0]}</xmin>"
    "<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
)


@pytest.fixture
def voc(tmp_path):
    """voc(objects, nested=False, **files): writes a set of eight pictures, and gives its name.

    `objects` are (name, box, difficult) of the first picture; the others have one cat each.
    """

    def write(objects=(("dog", (1, 1, 10, 20), 0),), nested=False, xml=None, mask=None):
        root = tmp_path / "VOCdevkit" / "VOC2012" if nested else tmp_path
        for name in (
            "JPEGImages",
            "Annotations",
            "SegmentationClass",
            "ImageSets/Main",
            "ImageSets/Segmentation",
        ):
            (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(8):
            held = objects if number == 0 else (("cat", (2, 2, 9, 9), 0),)
            Image.new("RGB", (40, 30), (20 * number, 0, 0)).save(
                root / "JPEGImages" / f"p{number}.jpg", quality=100
            )
            inner = "".join(OBJECT.format(name=n, box=b, difficult=d) for n, b, d in held)
            text = f"<annotation><size><width>40</width><height>30</height></size>{inner}</annotation>"
            (root / "Annotations" / f"p{number}.xml").write_text(xml if xml and number == 0 else text)
            indices = np.zeros((30, 40), np.uint8) if mask is None or number else mask
            image = Image.fromarray(indices)
            image.putpalette([value for index in range(256) for value in (index, 0, 0)])
            image.save(root / "SegmentationClass" / f"p{number}.png")
        names = "\n".join(f"p{number}" for number in range(8))
        for kind in ("Main", "Segmentation"):
            (root / "ImageSets" / kind / "val.txt").write_text(names)
        return f"voc:{tmp_path}"

    return write


def truth_of_first(data):
    for part in (data.calibration, data.evaluation):
        for i in range(len(part)):
            if part.load(i).getpixel((5, 5))[0] < 5:
                return part.labels[i]
    raise AssertionError


@pytest.mark.parametrize("nested", [False, True])
def test_boxes_count_from_one_and_difficult_ones_are_not_judged(voc, nested):
    data = find(voc((("dog", (1, 1, 10, 20), 0), ("cat", (5, 5, 40, 30), 1)), nested), "detection")
    assert data.labels[:2] == ("aeroplane", "bicycle")
    truth = truth_of_first(data)
    assert truth.boxes.tolist() == [[0, 0, 10, 20], [4, 4, 40, 30]]
    assert [data.labels[index] for index in truth.classes] == ["dog", "cat"]
    assert truth.ignore.tolist() == [False, True]


def test_other_names_than_vocs_are_the_classes(voc):
    assert find(voc((("zebra", (1, 1, 9, 9), 0),)), "detection").labels == ("cat", "zebra")


def test_a_picture_with_no_object_is_one(voc):
    assert len(truth_of_first(find(voc(()), "detection"))) == 0


def test_masks_hold_indices_and_the_palette_is_not_looked_at(voc):
    mask = np.zeros((30, 40), np.uint8)
    mask[3:6, 4:9], mask[0, 0] = 12, 255
    data = find(voc(mask=mask), "segmentation")
    assert (len(data.labels), data.labels[12]) == (21, "dog")
    assert np.array_equal(truth_of_first(data), mask)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        ("<annotation>", "is damaged"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "without a DOCTYPE"),
        ("<annotation><object><name>dog</name></object></annotation>", "does not say how large"),
        ("<annotation><size/><object><name>dog</name></object></annotation>", "has no box"),
        ("<annotation><size/><object/></annotation>", "has no <name>"),
        (
            "<annotation><size><width>x</width></size><object><name>dog</name><bndbox><xmin>a</xmin>"
            "</bndbox></object></annotation>",
            "is no number",
        ),
    ],
)
def test_annotations_that_cannot_be_used_are_refused(voc, xml, message):
    with pytest.raises(DataError, match=message):
        truth_of_first(find(voc(xml=xml), "detection"))


def test_masks_of_another_size_are_refused(voc):
    with pytest.raises(DataError, match="has another size than the picture"):
        truth_of_first(find(voc(mask=np.zeros((30, 41), np.uint8)), "segmentation"))


def test_a_list_that_names_what_is_not_there_is_refused(voc, tmp_path):
    name = voc()
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("p0\n../../p1")
    with pytest.raises(DataError, match="leaves"):
        find(name, "detection")
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("p0\nabsent")
    with pytest.raises(DataError, match="not in"):
        find(name, "detection")


def test_a_folder_that_is_no_voc_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no PASCAL VOC"):
        find(f"voc:{tmp_path}", "detection")
