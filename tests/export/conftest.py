"""A small trained network, its exported variant and its bundle, made once for all tests of this floor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.progress import Progress
from edgeproof.export.data import catalog
from edgeproof.export.data.dataset import Dataset
from edgeproof.export.pipeline import ExportRequest, export_bundle
from edgeproof.export.pretrained.weights import from_demo
from edgeproof.export.sources import registry
from edgeproof.export.stages.parity import Reference
from edgeproof.export.stages.torch_onnx import Exported, TorchOrigin, export_onnx, torch_answers
from edgeproof.runtime import Bundle
from edgeproof.runtime.tasks.classification import Classification


@pytest.fixture(scope="session")
def progress() -> Progress:
    return Progress(quiet=True)


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return catalog.find("digits")


@dataclass(frozen=True)
class Sample:
    """A trained network, its export, and PyTorch's answers to real inputs."""

    network: torch.nn.Module
    exported: Exported
    reference: Reference

    def altered(self, change) -> OnnxArtifact:
        """The exported artifact after `change(model)` has broken a copy of it."""
        model = onnx.ModelProto()
        model.CopyFrom(self.exported.artifact.model)
        change(model)
        return OnnxArtifact(model, "export")


@pytest.fixture(scope="session")
def sample(tiny_network, digits, progress) -> Sample:
    spec = registry.find(tiny_network)
    variant = spec.variant_for(small_data=True)
    preprocess = digits.preprocess(variant.input_shape)
    network = from_demo(spec, variant, digits, preprocess, progress).network
    inputs = digits.evaluation.take(np.arange(16)).tensor(preprocess)
    exported = export_onnx(network, inputs)
    return Sample(
        network,
        exported,
        Reference(
            inputs, torch_answers(network, inputs), TorchOrigin(network, exported.program), Classification()
        ),
    )


@pytest.fixture(scope="session")
def tiny_bundle(tiny_network, tmp_path_factory, progress) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "tiny"
    return export_bundle(ExportRequest(model=tiny_network, out=out), progress)


@pytest.fixture
def draftless():
    """Asserts that a folder holds exactly the named entries: no drafts, nothing half-written."""

    def check(folder: Path, *names: str) -> None:
        assert sorted(entry.name for entry in folder.iterdir()) == sorted(names)

    return check
