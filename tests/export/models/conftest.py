"""What the tests of the architectures share."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

from edgeproof.export.sources import registry
from edgeproof.export.sources.resolve import check_options, configure
from edgeproof.export.stages.parity import Reference, prove
from edgeproof.export.stages.torch_onnx import TorchOrigin, export_onnx, torch_answers
from edgeproof.export.training.trainer import settle_batch_norm
from edgeproof.runtime.tasks.classification import Classification


@pytest.fixture(scope="session")
def build():
    """build(name, classes, variant="standard", **options): a network with options as they are typed."""

    def make(name: str, classes: int, variant: str = "standard", **options: str) -> torch.nn.Module:
        spec = registry.find(name)
        return configure(getattr(spec, variant), check_options(spec, options), None).build(classes)

    return make


@pytest.fixture(scope="session")
def sized(build):
    """sized(name, classes, variant, **options): the network without memory for its weights."""

    def make(*arguments, **options) -> torch.nn.Module:
        with torch.device("meta"):
            return build(*arguments, **options)

    return make


@pytest.fixture(scope="session")
def parameters(sized):
    """parameters(name, classes, variant, **options): how many the network has, auxiliary heads and all."""

    def count(*arguments, **options) -> int:
        return sum(parameter.numel() for parameter in sized(*arguments, **options).parameters())

    return count


@pytest.fixture(scope="session")
def shapes():
    """shapes(network, shape, *paths): of what the modules at these paths give for one input of that shape."""

    def watch(network: torch.nn.Module, shape: tuple[int, ...], *paths: str) -> list[tuple[int, ...]]:
        seen = {}
        for path in paths:
            network.get_submodule(path).register_forward_hook(
                lambda module, inputs, output, path=path: seen.update({path: tuple(output.shape[1:])})
            )
        device = next(network.parameters()).device
        with torch.no_grad():
            network.eval()(torch.zeros(1, *shape, device=device))
        return [seen[path] for path in paths]

    return watch


@pytest.fixture(scope="session")
def proven(build, digits):
    """proven(name, variant, **options): the seeded network, exported and proven; the ONNX model.

    Batch norms are settled, on digits or on noise of a network that takes no pictures, so that the signal
    reaches the output.
    """

    def export(name: str, variant: str = "standard", **options: str) -> onnx.ModelProto:
        torch.manual_seed(0)
        network = build(name, 10, variant, **options)
        inputs, batches = samples(getattr(registry.find(name), variant).input_shape)
        settle_batch_norm(network, batches)
        exported = export_onnx(network, inputs)
        outputs = torch_answers(network, inputs)
        assert set(outputs) == {"output"}
        assert outputs["output"].shape == (len(inputs), 10)
        signal = outputs["output"] - outputs["output"].mean(axis=0)
        assert np.linalg.norm(signal) > 0.02 * np.linalg.norm(outputs["output"])
        assert prove(
            exported.artifact,
            Reference(inputs, outputs, TorchOrigin(network, exported.program), Classification()),
        )
        return exported.artifact.model

    def samples(shape: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray]]:
        if len(shape) == 3:
            preprocess = digits.preprocess(shape)
            settling = digits.calibration.batches(preprocess, 64)
            return digits.evaluation.take(range(8)).tensor(preprocess), list(settling)
        noise = np.random.default_rng(0).standard_normal((24, *shape)).astype(np.float32)
        return noise[:8], [noise[8:]]

    return export


@pytest.fixture(scope="session")
def trains(build):
    """trains(name, variant, **options): that one step of training changes the weights; gives the outputs."""

    def step(name: str, variant: str = "standard", **options: str) -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)
        network = build(name, 10, variant, **options).train()
        inputs = torch.randn(4, *getattr(registry.find(name), variant).input_shape)
        outputs = network(inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = sum(torch.nn.functional.cross_entropy(output, torch.arange(4)) for output in outputs)
        loss.backward()
        still = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
        assert not still, f"no gradient: {still}"
        return outputs

    return step
