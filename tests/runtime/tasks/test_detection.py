"""Detection: what the layouts' outputs mean, and when two models find the same."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from edgeproof.runtime.bundle.preprocess import Preprocess
from edgeproof.runtime.errors import TaskError
from edgeproof.runtime.tasks.base import View
from edgeproof.runtime.tasks.boxes import Boxes
from edgeproof.runtime.tasks.detection import Detection
from edgeproof.runtime.tasks.geometry import Geometry
from edgeproof.runtime.tasks.layouts import LAYOUTS
from edgeproof.runtime.tasks.outputs import specs_of

SIDE = 64


def task(layout, **changes):
    return Detection(layout, SIDE, SIDE, **changes)


def outputs_of(layout, boxes, scores):
    """A layout's outputs that hold some boxes (N, A, 4) and scores (N, A, C)."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    centres, sizes = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
    around = np.concatenate([centres, sizes], axis=-1)
    match layout:
        case "yolov5":
            return {"out": np.concatenate([around, np.ones_like(around[..., :1]), scores], axis=-1)}
        case "yolov8":
            return {"out": np.concatenate([around, scores], axis=-1).transpose(0, 2, 1)}
        case "boxes":
            return {"boxes": boxes, "scores": scores}
    raise AssertionError(layout)


@pytest.mark.parametrize("layout", ["yolov5", "yolov8", "boxes"])
def test_the_same_objects_are_read_from_each_layout(layout):
    boxes = [[[4, 6, 20, 30], [40, 40, 60, 60], [5, 6, 20, 30]]]
    scores = [[[0.1, 0.9], [0.7, 0.2], [0.1, 0.8]]]
    (found,) = task(layout).decode(outputs_of(layout, boxes, scores))
    assert found.boxes.tolist() == [[4, 6, 20, 30], [40, 40, 60, 60]]  # the third is the first once more
    assert found.classes.tolist() == [1, 0]
    assert found.scores == pytest.approx([0.9, 0.7])


def test_boxes_of_other_classes_do_not_suppress_each_other():
    outputs = outputs_of("boxes", [[[4, 6, 20, 30], [4, 6, 20, 30]]], [[[0.9, 0.0], [0.0, 0.8]]])
    assert task("boxes").decode(outputs)[0].classes.tolist() == [0, 1]


def test_an_ssd_is_decoded_as_torchvision_does():
    torch = pytest.importorskip("torch")
    ssd_module = pytest.importorskip("torchvision.models.detection.ssd")
    from edgeproof.export.models.detectors import build_small

    torch.manual_seed(0)
    network = build_small(10).eval()
    ssd = network.network
    ssd.score_thresh, ssd.nms_thresh, ssd.detections_per_img, ssd.topk_candidates = 0.12, 0.45, 100, 1000
    with torch.inference_mode():
        deltas, logits = network(torch.randn(2, 3, SIDE, SIDE))
        logits = 3 * logits / logits.std()
        wanted = ssd_module.SSD.postprocess_detections(
            ssd,
            {"bbox_regression": deltas, "cls_logits": logits},
            [network.anchors(SIDE, SIDE)] * 2,
            [(SIDE, SIDE)] * 2,
        )
    anchors = network.anchors(SIDE, SIDE).numpy()
    ours = task("ssd", anchors=anchors, min_score=0.12).decode(
        {"deltas": deltas.numpy(), "logits": logits.numpy()}
    )
    for right, found in zip(wanted, ours, strict=True):
        assert len(right["scores"]) == len(found) > 3
        order = np.argsort(-right["scores"].numpy(), kind="stable")
        assert np.allclose(right["scores"].numpy()[order], found.scores, atol=1e-6)
        assert np.allclose(right["boxes"].numpy()[order], found.boxes, atol=1e-3)
        assert np.array_equal(right["labels"].numpy()[order] - 1, found.classes)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_torchvisions_box_coder_encodes_is_decoded(seed):
    torch = pytest.importorskip("torch")
    coder = pytest.importorskip("torchvision.models.detection._utils").BoxCoder((10.0, 10.0, 5.0, 5.0))
    random = np.random.default_rng(seed)
    corner = random.uniform(0, 30, (2, 8, 2))
    boxes, anchors = np.concatenate([corner, corner + random.uniform(2, 30, (2, 8, 2))], axis=2)
    deltas = coder.encode_single(torch.from_numpy(boxes), torch.from_numpy(anchors)).numpy()
    logits = np.zeros((8, 3), np.float32)
    outputs = [deltas.astype(np.float32), logits]
    found = LAYOUTS["ssd"].candidates(outputs, anchors.astype(np.float32), SIDE)
    assert found.boxes == pytest.approx(boxes, abs=1e-3)
    assert found.scores == pytest.approx(np.full((8, 2), 1 / 3))


def test_peaks_of_heat_maps_are_objects():
    heat, sizes, offsets = (np.zeros((1, count, 16, 16), np.float32) for count in (2, 2, 2))
    heat[0, 1, 5, 7], heat[0, 1, 5, 8], heat[0, 0, 12, 2] = 0.9, 0.6, 0.5
    sizes[0, :, 5, 7], offsets[0, :, 5, 7] = (4, 2), (0.5, 0.25)
    sizes[0, :, 12, 2] = (2, 2)
    (found,) = task("centernet").decode({"heat": heat, "size": sizes, "offset": offsets})
    assert found.classes.tolist() == [1, 0]  # the neighbour that is outshone is no object
    assert found.boxes[0].tolist() == [(7.5 - 2) * 4, (5.25 - 1) * 4, (7.5 + 2) * 4, (5.25 + 1) * 4]


@pytest.mark.parametrize("layout", ["yolov5", "yolov8", "boxes"])
def test_boxes_are_cut_at_the_edges_and_those_outside_are_none(layout):
    boxes = [[[-10, -10, 20, 20], [70, 70, 90, 90]]]
    (found,) = task(layout).decode(outputs_of(layout, boxes, [[[0.9], [0.9]]]))
    assert found.boxes.tolist() == [[0, 0, 20, 20]]


def test_of_equal_scores_the_first_in_the_output_come_first():
    random = np.random.default_rng(0)
    cells = random.permutation(SIDE * SIDE)[:1500]  # one pixel each: none covers another
    corner = np.stack([cells % SIDE, cells // SIDE], axis=1)
    scores = random.uniform(0.3, 0.5, 1500)
    best = np.sort(random.permutation(1500)[:500])
    scores[best] = 0.9
    outputs = outputs_of("boxes", [np.concatenate([corner, corner + 1], axis=1)], scores[None, :, None])
    (found,) = task("boxes", max_boxes=400).decode(outputs)
    assert found.boxes[:, :2].tolist() == corner[best[:400]].tolist()


def test_the_sides_of_the_input_must_be_known():
    outputs = outputs_of("boxes", [[[0, 0, 9, 9]]], [[[0.9]]])
    with pytest.raises(TaskError, match="must know the sides"):
        Detection("boxes").decode(outputs)
    assert len(Detection("boxes").for_input((3, 10, 20)).decode(outputs)[0]) == 1


def test_the_sides_follow_from_the_input_and_must_not_differ():
    assert Detection("boxes").for_input((3, 10, 20)) == Detection("boxes", 10, 20)
    assert Detection("boxes", 10, 20).for_input((3, 10, 20)) == Detection("boxes", 10, 20)
    with pytest.raises(TaskError, match="not those of the model's input") as caught:
        Detection("boxes", 10, 20).for_input((3, 20, 10))
    assert "height=20,width=10" in str(caught.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_box_of_nan_is_refused(bad):
    outputs = outputs_of("boxes", [[[0, 0, 9, 9]], [[0, 0, bad, 9]]], [[[0.9]], [[0.9]]])
    with pytest.raises(TaskError, match="sample 1 is NaN or Inf"):
        task("boxes").decode(outputs)


def test_a_million_candidates_take_bounded_work():
    random = np.random.default_rng(0)
    corner = random.uniform(0, 50, (1, 1_000_000, 2))
    boxes = np.concatenate([corner, corner + 10], axis=2)
    outputs = outputs_of("boxes", boxes, random.uniform(0.3, 1, (1, 1_000_000, 1)))
    start = time.perf_counter()
    (found,) = task("boxes").decode(outputs)
    assert len(found) <= 100
    assert time.perf_counter() - start < 30  # it takes a tenth of a second; quadratic work would take hours


@pytest.mark.parametrize(
    ("layout", "shapes"),
    [
        ("yolov8", [(2, 84, 50, 1)]),
        ("yolov8", [(2, 4, 50)]),
        ("yolov8", [(2, 50, 12)]),  # of yolov5: more values a box than boxes
        ("yolov5", [(2, 50, 5)]),
        ("yolov5", [(2, 12, 50)]),
        ("boxes", [(2, 50, 4)]),
        ("boxes", [(2, 50, 4), (2, 49, 3)]),
        ("centernet", [(2, 3, 8, 8), (2, 2, 8, 8), (2, 3, 8, 8)]),
        ("ssd", [(2, 50, 4), (2, 50, 1)]),
    ],
)
def test_outputs_of_another_layout_are_refused(layout, shapes):
    outputs = {str(i): np.zeros(shape, np.float32) for i, shape in enumerate(shapes)}
    with pytest.raises(TaskError, match="are no detection of the layout") as caught:
        task(layout).require_fit(specs_of(outputs), ())
    assert LAYOUTS[layout].wanted in str(caught.value)


def test_labels_must_be_as_many_as_classes():
    outputs = specs_of(outputs_of("yolov8", np.zeros((1, 9, 4)), np.zeros((1, 9, 3))))
    task("yolov8").require_fit(outputs, ("a", "b", "c"))
    with pytest.raises(TaskError, match="with 2 classes"):
        task("yolov8").require_fit(outputs, ("a", "b"))


def test_average_precision_reads_objects_below_those_that_are_shown():
    outputs = outputs_of("boxes", [[[4, 6, 20, 30], [40, 40, 60, 60]]], [[[0.9], [0.1]]])
    shown = task("boxes")
    assert len(shown.decode(outputs)[0]) == 1
    assert len(shown.for_metric().decode(outputs)[0]) == 2


@pytest.mark.parametrize("anchors", [None, np.zeros((49, 4)), np.zeros((50, 3)), np.full((50, 4), np.nan)])
def test_anchors_that_do_not_match_are_refused(anchors):
    outputs = specs_of({"deltas": np.zeros((2, 50, 4)), "logits": np.zeros((2, 50, 3))})
    with pytest.raises(TaskError, match="anchors do not match"):
        task("ssd", anchors=anchors).require_fit(outputs, ())


@pytest.mark.parametrize(
    "changes", [{"layout": "yolov1"}, {"min_score": 1.5}, {"iou": 0}, {"max_boxes": 0}, {"width": 0}]
)
def test_parameters_that_make_no_sense_are_refused(changes):
    with pytest.raises(ValueError, match="must"):
        Detection(**{"layout": "boxes", "height": 8, "width": 8, **changes})


@settings(max_examples=30)
@given(st.sampled_from(sorted(LAYOUTS)), st.integers(1, 6))
def test_every_value_of_every_output_is_in_exactly_one_part(layout, classes):
    cells = {"heat": (2, classes, 4, 4), "size": (2, 2, 4, 4), "offset": (2, 2, 4, 4)}
    shapes = {
        "ssd": {"deltas": (2, 16, 4), "logits": (2, 16, classes + 1)},
        "yolov5": {"out": (2, 16, 5 + classes)},
        "yolov8": {"out": (2, 4 + classes, 16)},
        "centernet": cells,
        "boxes": {"boxes": (2, 16, 4), "scores": (2, 16, classes)},
    }[layout]
    outputs = {name: np.zeros(shape) for name, shape in {**shapes, "more": (2, 3)}.items()}
    for part in task(layout).parts(specs_of(outputs)):
        part.of(outputs)[...] += 1  # a view of the output
    assert all((values == 1).all() for values in outputs.values())


def test_agreement_is_the_f1_of_matched_boxes():
    measure = task("boxes").agreement
    wanted = Boxes.of([[0, 0, 10, 10], [20, 20, 40, 40], [50, 50, 60, 60]], [0, 1, 1])
    shifted = Boxes.of([[0, 0, 10, 10], [20, 20, 40, 36], [0, 30, 9, 39]], [0, 1, 0], [0.9, 0.8, 0.7])
    counts = [measure.count(wanted, shifted)]
    assert measure.value(counts) == pytest.approx(100 * 4 / 6)
    assert measure.details(counts) == {"boxes matched at IoU 0.75 (F1)": pytest.approx(100 * 4 / 6)}
    assert measure.value([measure.count(wanted, wanted)]) == 100


def test_a_box_is_matched_once_and_never_to_another_class():
    measure = task("boxes").agreement
    wanted = Boxes.of([[0, 0, 10, 10]], [0])
    twice = Boxes.of([[0, 0, 10, 10], [0, 0, 10, 9]], [0, 0], [0.9, 0.8])
    other = Boxes.of([[0, 0, 10, 10]], [1])
    assert measure.value([measure.count(wanted, twice)]) == pytest.approx(100 * 2 / 3)
    assert measure.value([measure.count(wanted, other)]) == 0


def test_where_the_reference_finds_nothing_there_is_no_agreement():
    measure = task("boxes").agreement
    assert measure.value([measure.count(Boxes.of([], []), Boxes.of([[0, 0, 1, 1]], [0]))]) is None


def test_truths_move_with_the_picture_and_rows_move_back():
    geometry = Geometry((128, 32), (SIDE, SIDE), (0.5, 2.0))
    truth = Boxes.of([[100, 4, 128, 16], [-5, -5, 0, 0]], [1, 0])
    moved = task("boxes").truth_in_input(truth, geometry, truth)
    assert moved.boxes.tolist() == [[50, 8, 64, 32]]
    view = View(("cat", "dog"), (), geometry)
    row = task("boxes").row(moved, view)
    assert row == {"objects": [{"index": 1, "label": "dog", "score": 1.0, "box": [100, 4, 128, 16]}]}


def test_objects_in_the_borders_of_a_letterbox_are_no_row():
    preprocess = Preprocess((SIDE, SIDE), None, (0.5,) * 3, (0.5,) * 3, letterbox=114)
    geometry = preprocess.geometry(128, 64)  # half as large, 16 pixels of border above and below
    found = Boxes.of([[4, 0, 20, 15], [4, 10, 20, 26]], [0, 0], [0.9, 0.8])
    row = task("boxes").row(found, View(("cat",), (), geometry))
    assert row == {"objects": [{"index": 0, "label": "cat", "score": 0.8, "box": [8, 0, 40, 20]}]}


def test_a_picture_with_no_object_is_an_empty_row_and_is_drawn_as_it_is():
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    nothing, view = Boxes.of([], []), View(("cat",), ())
    assert task("boxes").row(nothing, view) == {"objects": []}
    assert ImageChops.difference(task("boxes").draw(picture, nothing, view), picture).getbbox() is None
    something = Boxes.of([[10, 20, 50, 60]], [0], [0.5])
    assert ImageChops.difference(task("boxes").draw(picture, something, view), picture).getbbox() is not None
