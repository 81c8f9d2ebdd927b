"""`edgeproof evaluate`: every precision of a bundle on the same labelled samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.progress import Progress
from ...runtime.bundle.accuracy import Accuracy, paired_accuracy
from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.manifest import Manifest
from ...runtime.cache import cache_folder
from ...runtime.errors import DataError, InputError, PrecisionError, TaskError
from ...runtime.providers.request import ProviderRequest
from ...runtime.session.selection import open_session
from ...runtime.session.session import Session, load_onnxruntime, run_batched
from ...runtime.tasks.base import Measure, Task
from ...runtime.tasks.figures import Figures, Findings
from ..data import catalog
from ..data.dataset import Dataset, Split, seeded_subset
from .kept_batches import Found, KeptBatches, digest
from .significance import mcnemar

BATCH = 32
AUTO = ProviderRequest("auto")
SHOWN = 10  # classes in a message


@dataclass(frozen=True)
class EvaluateRequest:
    """What `edgeproof evaluate` is asked for.

    Attributes:
        bundle: the bundle's folder.
        data: name of a data set, `imagefolder:DIR`, `coco:DIR` or `voc:DIR`, or a `Dataset`; None for the one
            that the bundle was exported with, where it has a name of its own.
        precisions: which models; empty for all that can run.
        provider: where they run.
        samples: at most this many of the data set's evaluation samples, drawn by seed; None for all.
    """

    bundle: Path | str
    data: str | Dataset | None = None
    precisions: tuple[str, ...] = ()
    provider: ProviderRequest = AUTO
    samples: int | None = None


@dataclass(frozen=True)
class PrecisionFigures:
    """One model.

    Attributes:
        provider: on which it ran.
        accuracy: the task's metric, and its drop against the first model on the same samples.
        mcnemar: probability of lost and gained answers at least as unequal as these, if both models were
            equally good (McNemar's exact test); None where answers are right in part.
        figures: by class, and how far scores can be trusted.
    """

    provider: str
    accuracy: Accuracy
    mcnemar: float | None
    figures: Figures


@dataclass(frozen=True)
class EvaluationReport:
    """What came of it.

    Attributes:
        bundle: its name.
        data: name of the data set.
        samples: how many were shown.
        reference: the precision with which the others are compared.
        precisions: each model, the reference first.
        left_out: models that cannot run there, and why.
    """

    bundle: str
    data: str
    samples: int
    reference: str
    precisions: Mapping[str, PrecisionFigures]
    left_out: Mapping[str, str]


def evaluate_bundle(request: EvaluateRequest, progress: Progress | None = None) -> EvaluationReport:
    """Measure a bundle's models on labelled samples.

    What is found is kept by batch in the cache folder: the same request goes on where it was interrupted.

    Args:
        request: the bundle, the data, and where it runs.
        progress: shows what goes on; None for silence.

    Raises:
        InputError: the bundle, the data or the precision cannot be used, or do not go together.
        PlacementError: the provider cannot be used, or leaves nodes to another.
        PrecisionError: it would compute the model wrongly.
    """
    progress = progress or Progress(quiet=True)
    bundle = Bundle.open(Path(request.bundle))
    task, manifest = bundle.task, bundle.manifest
    metric, findings = task.metric, task.findings(manifest.outputs)
    if metric is None or findings is None:
        raise TaskError(
            f"The task {task.name} knows no truth, so that nothing can be evaluated.",
            todo="edgeproof compare tells how far the answers of two models differ",
        )
    data = _data(request.data, manifest, task)
    split = _split(data, manifest, request.samples)
    kept = KeptBatches(cache_folder() / "evaluations" / digest(manifest.to_json(), data.name)[:16])
    with ExitStack() as stack:
        opened, left_out = _open(bundle, request, stack)
        runs = {name: _Run(bundle, name, session, task, findings) for name, session in opened.items()}
        found: dict[str, Found] = {name: [] for name in runs}
        starts = range(0, len(split), BATCH)
        for start in progress.track(starts, len(starts), "evaluating"):
            some = split.take(range(start, min(start + BATCH, len(split))))
            inputs = some.tensor(manifest.preprocess)
            for name, run in runs.items():
                found[name] += run.batch(some, inputs, kept)
    if kept.reused:
        progress.note(f"{kept.reused} batches were done before")
    report = EvaluationReport(
        bundle=manifest.name,
        data=data.name,
        samples=len(split),
        reference=next(iter(runs)),
        precisions=_judged(runs, found, metric),
        left_out=left_out,
    )
    kept.clear()
    return report


@dataclass(frozen=True)
class _Run:
    """One model at work."""

    bundle: Bundle
    precision: str
    session: Session
    task: Task
    findings: Findings

    def batch(self, samples: Split, inputs: NDArray[Any], kept: KeptBatches) -> Found:
        """What is found on a batch: from before, or now."""
        manifest, provider = self.bundle.manifest, self.session.placement.provider
        model = manifest.models[self.precision].sha256
        task = repr(self.task.for_metric())
        key = digest(model, task, provider, load_onnxruntime().__version__, inputs, *samples.labels)
        found = kept.get(key, len(samples))
        if found is None:
            found = self._find(samples, inputs)
            kept.put(key, found)
        return found

    def _find(self, samples: Split, inputs: NDArray[Any]) -> Found:
        outputs = run_batched(self.session, inputs, self.session.fixed_batch or BATCH)
        answers = self.task.for_metric().decode(outputs)
        preprocess = self.bundle.manifest.preprocess
        return [
            self.findings.of(samples.truth_in_input(i, self.task, preprocess, answer), answer)
            for i, answer in enumerate(answers)
        ]


def _judged(
    runs: Mapping[str, _Run], found: Mapping[str, Found], metric: Measure
) -> dict[str, PrecisionFigures]:
    """The figures of each model, against the first."""
    counts = {name: [run.findings.count(each) for each in found[name]] for name, run in runs.items()}
    expected = next(iter(counts.values()))
    judged = {}
    for name, run in runs.items():
        try:
            accuracy = paired_accuracy(metric, expected, counts[name])
        except ValueError as error:
            raise DataError(
                f"{error}.", wanted="samples with something to find", todo="give other data with --data"
            ) from error
        figures = run.findings.figures(found[name], run.bundle.manifest.labels)
        provider = run.session.placement.provider
        judged[name] = PrecisionFigures(provider, accuracy, mcnemar(accuracy), figures)
    return judged


def _data(asked: str | Dataset | None, manifest: Manifest, task: Task) -> Dataset:
    if isinstance(asked, Dataset):
        return asked
    name = asked or str(manifest.data.get("name", ""))
    if asked is None and name not in catalog.NAMES:
        raise InputError(
            f"The bundle was exported with {name or 'data without a name'}, which cannot be found by that.",
            wanted="labelled samples",
            available=", ".join(catalog.NAMES),
            todo="--data imagefolder:DIR, or another of these",
        )
    return catalog.find(name, task.name)


def _split(data: Dataset, manifest: Manifest, most: int | None) -> Split:
    """The samples to be judged, with their classes as the bundle counts them."""
    shape = manifest.input.shape[1:]
    if (manifest.preprocess is None) != bool(data.tensor_shape) or data.tensor_shape not in (None, shape):
        raise DataError(
            f"The bundle cannot take the data set {data.name}.",
            wanted=f"tensors of shape {shape}" if manifest.preprocess is None else "pictures",
            got="pictures" if data.tensor_shape is None else f"tensors of shape {data.tensor_shape}",
            todo="give other data with --data",
        )
    split = data.evaluation
    if most is not None and most < len(split):
        split = split.take(seeded_subset(len(split), most))
    if data.labels == manifest.labels:
        return split
    return replace(split, labels=_in_bundles_order(split.labels, data, manifest.labels))


def _in_bundles_order(truths: Any, data: Dataset, labels: Sequence[str]) -> NDArray[np.int64]:
    unknown = [label for label in data.labels if label not in labels]
    if unknown or not isinstance(truths, np.ndarray):
        raise DataError(
            f"The classes of {data.name} are not those of the bundle.",
            wanted=", ".join(labels[:SHOWN]),
            got=", ".join((unknown or list(data.labels))[:SHOWN]),
            todo="name the folders as the bundle names its classes, or write a class_index.json",
        )
    return np.array([labels.index(label) for label in data.labels], np.int64)[truths]


def _open(
    bundle: Bundle, request: EvaluateRequest, stack: ExitStack
) -> tuple[dict[str, Session], dict[str, str]]:
    """A session for each precision; one that was not asked for by name is left out where it cannot run."""
    opened: dict[str, Session] = {}
    left_out: dict[str, str] = {}
    for name in request.precisions or bundle.manifest.models:
        try:
            session = open_session(bundle, replace(request.provider, precision=name))
        except PrecisionError as error:
            if request.precisions:
                raise
            left_out[name] = str(error)
            continue
        opened[name] = stack.enter_context(session)
    if not opened:
        raise PrecisionError(
            "No model of the bundle can run here.", got="; ".join(f"{k}: {v}" for k, v in left_out.items())
        )
    return opened, left_out
