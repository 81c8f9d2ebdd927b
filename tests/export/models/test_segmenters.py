"""torchvision's segmentation networks: its own answers, under its own names of weights, as one map."""

import numpy as np
import pytest
import torch
from torchvision import models

from edgeproof.export.models import segmenters
from edgeproof.export.sources import registry
from edgeproof.export.stages.parity import Reference, prove
from edgeproof.export.stages.torch_onnx import TorchOrigin, export_onnx, torch_answers
from edgeproof.export.training.trainer import settle_batch_norm
from edgeproof.runtime.tasks.segmentation import Segmentation

LRASPP, DEEPLAB = "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large"
AUXILIARY = {LRASPP: {}, DEEPLAB: {"aux_loss": True}}


def torchvisions(name, classes=21):
    torch.manual_seed(1)
    options = {"weights": None, "weights_backbone": None, "num_classes": classes, **AUXILIARY[name]}
    return models.get_model(name, **options).eval()


def test_every_segmentation_model_of_torchvision_has_a_name():
    assert set(segmenters.names()) == set(models.list_models(module=models.segmentation))
    for name in segmenters.names():
        spec = registry.find(name)
        assert (spec.name, spec.task, spec.standard.input_shape) == (name, "segmentation", (3, 520, 520))


@pytest.mark.parametrize("name", [LRASPP, DEEPLAB])
def test_torchvisions_weights_give_torchvisions_answers(name, build):
    own, network = torchvisions(name), build(name, 21)
    network.load_state_dict(own.state_dict())
    network.eval()
    assert list(network.state_dict()) == list(own.state_dict())
    inputs = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(network(inputs), own(inputs)["out"])


def test_the_auxiliary_map_is_given_in_training_alone(build):
    network, inputs = build(DEEPLAB, 5), torch.randn(2, 3, 64, 64)
    main, auxiliary = network.train()(inputs)
    assert main.shape == auxiliary.shape == (2, 5, 64, 64)
    assert network.eval()(inputs).shape == (2, 5, 64, 64)


def test_the_small_form_has_the_networks_operators(build):
    small, standard = (build(LRASPP, 11, variant) for variant in ("small", "standard"))
    assert list(small.state_dict()) != []
    kinds = (torch.nn.Hardswish, torch.nn.Hardsigmoid)
    for kind in kinds:
        counts = [sum(isinstance(module, kind) for module in net.modules()) for net in (small, standard)]
        assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(("name", "variant"), [(LRASPP, "small"), (LRASPP, "standard"), (DEEPLAB, "small")])
def test_one_step_of_training_reaches_every_weight(name, variant, build):
    torch.manual_seed(0)
    network = build(name, 11, variant).train()
    outputs = network(torch.randn(4, 3, 64, 64))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    sum(output.square().mean() for output in outputs).backward()
    still = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert not still, f"no gradient: {still}"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "variant"), [(LRASPP, "small"), (LRASPP, "standard"), (DEEPLAB, "small")])
def test_the_export_gives_pytorchs_map(name, variant, build):
    torch.manual_seed(0)
    side = 64 if variant == "small" else 128
    network = build(name, 11, variant)
    inputs = np.random.default_rng(0).standard_normal((6, 3, side, side)).astype(np.float32)
    settle_batch_norm(network, [inputs])
    exported = export_onnx(network, inputs)
    outputs = torch_answers(network, inputs)
    assert [value.shape for value in outputs.values()] == [(6, 11, side, side)]
    reference = Reference(inputs, outputs, TorchOrigin(network, exported.program), Segmentation())
    assert prove(exported.artifact, reference)  # more inputs than the two of which the graph was made
