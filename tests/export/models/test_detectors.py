"""torchvision's SSDs: its own answers, under its own names of weights, as boxes before suppression."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import models

from edgeproof.export.models import detectors
from edgeproof.export.models.wrapped import spread_scores, task_of
from edgeproof.export.sources import registry
from edgeproof.export.stages.parity import Reference, prove
from edgeproof.export.stages.torch_onnx import TorchOrigin, export_onnx, torch_answers
from edgeproof.export.training.trainer import settle_batch_norm
from edgeproof.runtime.tasks.boxes import iou

LITE, VGG = "ssdlite320_mobilenet_v3_large", "ssd300_vgg16"
ANCHORS = {LITE: 3234, VGG: 8732}
SIDES = {LITE: 320, VGG: 300}


@pytest.fixture(scope="module")
def torchvisions():
    """torchvisions(name): its SSD for four classes, with settled batch norms and sure answers."""

    def make(name):
        torch.manual_seed(1)
        ssd = models.get_model(name, weights=None, weights_backbone=None, num_classes=5).eval()
        for convolution in ssd.head.classification_head.modules():
            if isinstance(convolution, torch.nn.Conv2d):
                torch.nn.init.normal_(convolution.weight, std=0.5)
        return ssd

    return make


@pytest.fixture(scope="module")
def answers():
    def run(network, inputs):
        with torch.inference_mode():
            return {str(i): output.numpy() for i, output in enumerate(network(inputs))}

    return run


@pytest.mark.parametrize("name", [LITE, VGG])
def test_an_ssd_has_its_anchors(name, build):
    spec = registry.find(name)
    assert (spec.task, spec.standard.input_shape) == ("detection", (3, SIDES[name], SIDES[name]))
    network = build(name, 4).eval()
    with torch.inference_mode():
        deltas, logits = network(torch.zeros(1, *spec.standard.input_shape))
    assert (deltas.shape, logits.shape) == ((1, ANCHORS[name], 4), (1, ANCHORS[name], 5))
    assert network.anchors(SIDES[name], SIDES[name]).shape == (ANCHORS[name], 4)


def test_anchors_follow_the_input(build):
    network = build(LITE, 4).eval()
    with torch.inference_mode():
        deltas, _ = network(torch.zeros(1, 3, 160, 224))
    anchors = network.anchors(160, 224)
    assert anchors.shape == deltas.shape[1:]
    centres = (anchors[:, :2] + anchors[:, 2:]) / 2
    assert (centres > 0).all()
    assert (centres < torch.tensor([224, 160])).all()
    assert task_of(network, (3, 160, 224)).anchors.shape == anchors.shape


def test_names_are_torchvisions_ssds():
    wanted = {n for n in models.list_models(module=models.detection) if n.startswith("ssd")}
    assert set(detectors.names()) == wanted


def test_decoding_gives_torchvisions_detections(torchvisions, build, answers):
    """torchvision normalizes, decodes and suppresses inside its model; the bundle does so outside."""
    ssd, network = torchvisions(LITE), build(LITE, 4)
    settle_batch_norm(network, [torch.randn(8, 3, 320, 320).numpy()])
    state = {**network.state_dict(), **{k: v for k, v in ssd.state_dict().items() if k.startswith("head")}}
    network.load_state_dict(state)
    ssd.load_state_dict(state)
    network.eval()
    assert list(network.state_dict()) == list(ssd.state_dict())
    pictures = torch.rand(2, 3, 320, 320)
    ssd.score_thresh, ssd.nms_thresh, ssd.detections_per_img = 0.4, 0.45, 50
    ssd.topk_candidates = 1000
    task = replace(task_of(network, (3, 320, 320)), min_score=0.4, iou=0.45, max_boxes=50)
    found = task.decode(answers(network, (pictures - 0.5) / 0.5))
    with torch.inference_mode():
        wanted = ssd(list(pictures))
    assert sum(len(answer) for answer in found) > 10
    for answer, theirs in zip(found, wanted, strict=True):
        ours = np.column_stack([answer.classes + 1, answer.scores, answer.boxes])
        other = np.column_stack([theirs[key].numpy() for key in ("labels", "scores", "boxes")])
        assert ours.shape == other.shape
        apart = np.abs(ours[:, None] - other[None]).max(axis=2)  # equal scores may stand in another order
        assert apart.min(axis=1).max() < 1e-2


def test_the_small_forms_anchors_suit_the_scenes(build):
    """Each digit has an anchor that covers it, without which it could not be learned."""
    from edgeproof.export.data import catalog

    spec = registry.find(LITE)
    anchors = build(LITE, 10, "small").eval().anchors(*spec.small.input_shape[1:]).numpy()
    data = catalog.find("digit-scenes", "detection")
    best = np.concatenate([iou(data.train.labels[i].boxes, anchors).max(axis=1) for i in range(50)])
    assert spec.small.input_shape[1:] == data.train.load(0).size
    assert np.mean(best >= 0.5) > 0.95
    assert best.min() > 0.35


def test_the_small_form_has_hard_swish_and_gates(build):
    network = build(LITE, 10, "small")
    for kind, least in ((torch.nn.Hardswish, 10), (torch.nn.Hardsigmoid, 8)):
        assert sum(isinstance(module, kind) for module in network.modules()) >= least


@pytest.mark.parametrize(("name", "variant"), [(LITE, "small"), (LITE, "standard")])
def test_one_step_of_training_reaches_every_weight(name, variant, build):
    torch.manual_seed(0)
    network = build(name, 10, variant).train()
    inputs = torch.randn(2, *getattr(registry.find(name), variant).input_shape)
    sum(output.square().mean() for output in network(inputs)).backward()
    still = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient: {still}"


@pytest.mark.parametrize(("name", "variant"), [(LITE, "small"), (LITE, "standard"), (VGG, "standard")])
def test_random_weights_find_some_objects(name, variant, build, answers):
    torch.manual_seed(0)
    network = build(name, 10, variant)
    shape = getattr(registry.find(name), variant).input_shape
    pictures = torch.randn(4, *shape)
    settle_batch_norm(network, [pictures.numpy()])
    task = task_of(network, shape)
    spread_scores(network, pictures)
    found = task.decode(answers(network, pictures))
    counts = [len(boxes) for boxes in found]
    assert sum(count > 0 for count in counts) >= 2
    assert max(counts) < 100


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), [(LITE, "small"), (LITE, "standard"), (VGG, "standard")])
def test_the_export_gives_pytorchs_boxes(name, variant, build):
    torch.manual_seed(0)
    network = build(name, 10, variant)
    shape = getattr(registry.find(name), variant).input_shape
    inputs = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    settle_batch_norm(network, [inputs])
    exported = export_onnx(network, inputs)
    outputs = torch_answers(network, inputs)
    assert len(outputs) == 2
    operators = {node.op_type for node in exported.artifact.model.graph.node}
    assert not operators & {"NonMaxSuppression", "NonZero", "TopK"}
    task = task_of(network, shape)
    assert prove(exported.artifact, Reference(inputs, outputs, TorchOrigin(network, exported.program), task))
