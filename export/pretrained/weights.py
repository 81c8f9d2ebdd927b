"""Trained weights: the user's own, torchvision's, or those of a demo training kept for next time."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import nn

from ...calibration.progress import Progress
from ...runtime.bundle.preprocess import Preprocess
from ...runtime.cache import cache_folder
from ...runtime.errors import WeightsError
from ...runtime.files import publish_file, sha256_file
from ...runtime.records import encode
from ..data.dataset import Dataset
from ..models.spec import ModelSpec, Variant
from ..models.wrapped import Detector, spread_scores
from ..training.fingerprint import data_fingerprint, network_fingerprint, training_fingerprint
from ..training.samples import prepare
from ..training.trainer import evaluate_network, settle_batch_norm, train
from .state_dict import load_state, read_weights

# GoogLeNet's and Inception's published weights were trained on -1..1; this attribute of torchvision's
# makes the network convert ImageNet's usual input itself.
CONVERTS_INPUT = "transform_input"


@dataclass(frozen=True)
class WeightsRecord:
    """Where weights came from, for the manifest.

    Attributes:
        source: "demo", "imagenet", "file", "random", "factory" (as the model's own factory made them), or
            "module" (those of a network that the caller had in memory).
        sha256: of the file that holds them; of the state dict for "random", "factory" and "module".
        detail: what else tells them apart.
    """

    source: Literal["demo", "imagenet", "file", "random", "factory", "module"]
    sha256: str
    detail: Mapping[str, Any]

    def to_manifest(self) -> dict[str, Any]:
        """The manifest's `weights`."""
        return {"source": self.source, "sha256": self.sha256, **self.detail}


@dataclass(frozen=True)
class Trained:
    """A network in evaluation mode with its weights, their record, and their own preprocessing if known."""

    network: nn.Module
    record: WeightsRecord
    preprocess: Preprocess | None = None
    labels: tuple[str, ...] | None = None


def from_demo(
    spec: ModelSpec, variant: Variant, data: Dataset, preprocess: Preprocess | None, progress: Progress
) -> Trained:
    """Train on the data set, or take what an earlier run trained in the same way.

    Raises:
        WeightsError: the data set has no part to train on.
    """
    recipe = spec.recipe
    if data.train is None:
        raise WeightsError(
            f"The data set {data.name} has no part to train demo weights on.",
            wanted="`train` and `val` folders of class folders",
            todo="give your own weights with --weights FILE, or --data digits",
        )
    torch.manual_seed(recipe.seed)
    network = variant.build(len(data.labels))
    model = network_fingerprint(spec.name, variant, {}, network)
    settings = {
        **training_fingerprint(
            model, data_fingerprint(data.name, data.train, data.evaluation), preprocess, recipe
        ),
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:12]
    path = cache_folder() / "demo" / f"{spec.name}-{variant.name}-{digest}.safetensors"
    if path.is_file():
        load_state(network, read_weights(path).state, path)
    else:
        train(network, data.train, preprocess, recipe, progress)
        with publish_file(path) as draft:
            save_file({name: value.contiguous() for name, value in network.state_dict().items()}, draft)
    network.eval()
    found = evaluate_network(network, prepare(data.evaluation, preprocess, progress))
    progress.note(
        f"demo weights: {found.score:.2f} % {found.metric} "
        f"on {len(data.evaluation)} held-out pictures of {data.name}"
    )
    detail = {"recipe": encode(recipe), "metric": found.metric, "score": found.score}
    if found.metric == "top-1":
        detail["top1"] = found.score
    return Trained(network, WeightsRecord("demo", sha256_file(path), detail))


def from_imagenet(spec: ModelSpec, variant: Variant) -> Trained:
    """torchvision's published ImageNet weights, from its cache or by download.

    Raises:
        WeightsError: torchvision publishes none for this model, or they are not here and cannot be had.
    """
    from ..sources.torchvision import default_weights

    if spec.task != "classification":
        raise WeightsError(
            f"torchvision publishes no ImageNet weights of {spec.name}: it was trained on COCO.",
            wanted="a file of its weights",
            todo="--weights FILE, as torchvision.models publishes it, and --data coco:DIR or voc:DIR",
        )

    if spec.pretrained is not None and variant.name == "standard":
        network = spec.pretrained().eval()
        record = WeightsRecord("imagenet", _hash_of(network), {"name": f"{spec.source}:{spec.name}"})
        return Trained(network, record, spec.preprocess)
    if spec.torchvision_name is None or variant.name != "standard":
        raise WeightsError(
            f"There are no ImageNet weights for {spec.name} in its {variant.name} variant.",
            todo="give photographs with --data imagefolder:DIR, or your own weights with --weights FILE",
        )
    weights = default_weights(spec.torchvision_name)
    path = _download(weights.url)
    network = variant.build(len(weights.meta["categories"]))
    load_state(network, read_weights(path).state, path)
    if hasattr(network, CONVERTS_INPUT):
        setattr(network, CONVERTS_INPUT, True)
    record = WeightsRecord("imagenet", sha256_file(path), {"name": str(weights)})
    labels = tuple(weights.meta["categories"])
    return Trained(network.eval(), record, _from_preset(weights.transforms()), labels)


def from_file(variant: Variant, path: Path, classes: int, preprocess: Preprocess | None = None) -> Trained:
    """The user's own weights.

    Args:
        variant: makes the network.
        path: the file.
        classes: how many the network tells apart.
        preprocess: how pictures were prepared for the network's published weights, where that is known.

    Raises:
        WeightsError: the file cannot be read safely, or does not fit the model.
    """
    found = read_weights(path)
    network = variant.build(classes)
    load_state(network, found.state, path)
    detail = {"file": path.name, "wrapping": found.wrapping}
    return Trained(network.eval(), WeightsRecord("file", sha256_file(path), detail), preprocess)


def from_random(variant: Variant, data: Dataset, preprocess: Preprocess | None) -> Trained:
    """Seeded random weights, with the statistics of batch norms taken from the calibration samples.

    They run the pipeline on an untrained network, and say nothing about trained ones. With PyTorch's initial
    statistics a deep network's output would hardly depend on its input, and parity could compare nothing; a
    detector's class heads are scaled, so that it finds something.
    """
    torch.manual_seed(0)
    network = variant.build(len(data.labels))
    settle_batch_norm(network, data.calibration.batches(preprocess, 16))
    if isinstance(network, Detector):
        spread_scores(network, torch.from_numpy(next(data.calibration.batches(preprocess, 16))))
    return Trained(network, WeightsRecord("random", _hash_of(network), {"seed": 0}))


def from_factory(variant: Variant, classes: int) -> Trained:
    """The weights that the model's own factory makes: trained if it loads some, else random with a seed."""
    torch.manual_seed(0)
    network = variant.build(classes).eval()
    return Trained(network, WeightsRecord("factory", _hash_of(network), {}))


def from_module(network: nn.Module) -> Trained:
    """The weights that a network in memory has; it is left as it is."""
    kind = type(network)
    record = WeightsRecord("module", _hash_of(network), {"class": f"{kind.__module__}.{kind.__qualname__}"})
    return Trained(network, record)


def _hash_of(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.detach().numpy().tobytes())
    return digest.hexdigest()


def _download(url: str) -> Path:
    """torchvision's file in torch.hub's cache, downloaded if need be; its name carries its hash."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rsplit("/", 1)[1]
    prefix = path.stem.rsplit("-", 1)[1]
    if not path.is_file():
        try:
            os.makedirs(folder, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=prefix)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"The ImageNet weights {path.name} are not on this machine and cannot be downloaded.",
                wanted=str(path),
                got=str(error),
                todo=f"download {url} elsewhere and put it into {folder}",
            ) from error
    if not sha256_file(path).startswith(prefix):
        raise WeightsError(
            f"{path} is damaged.",
            wanted=f"SHA-256 {prefix}...",
            got=f"SHA-256 {sha256_file(path)[:16]}...",
            todo="delete it, and it is downloaded again",
        )
    return path


def _from_preset(preset: Any) -> Preprocess:
    """torchvision's ImageClassification preset as data."""
    resize, crop = preset.resize_size, preset.crop_size
    return Preprocess(
        resize=resize[0] if len(resize) == 1 else tuple(resize),
        crop=(crop[0], crop[-1]),
        interpolation=preset.interpolation.value,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
    )
