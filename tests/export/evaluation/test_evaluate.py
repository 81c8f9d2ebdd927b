"""`edgeproof evaluate`: what is measured, what is refused, and that it goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from edgeproof.export.data.arrays import array_dataset
from edgeproof.export.evaluation import evaluate as evaluation
from edgeproof.export.evaluation.evaluate import EvaluateRequest, evaluate_bundle
from edgeproof.export.evaluation.show import plot, text
from edgeproof.runtime.cache import cache_folder
from edgeproof.runtime.errors import DataError, InputError


@pytest.fixture(scope="module")
def report(tiny_bundle):
    return evaluate_bundle(EvaluateRequest(tiny_bundle.folder))


def test_every_precision_is_measured_as_at_the_export(report, tiny_bundle):
    assert list(report.precisions) == list(tiny_bundle.manifest.models)
    assert report.data == "digits"
    for name, found in report.precisions.items():
        at_export = tiny_bundle.manifest.models[name].accuracy
        assert (found.accuracy.value, found.accuracy.samples) == (at_export.value, at_export.samples)
        assert (found.provider, report.left_out) == ("cpu", {})


def test_the_first_is_what_the_others_are_compared_with(tiny_bundle):
    found = evaluate_bundle(EvaluateRequest(tiny_bundle.folder, precisions=("int8", "fp32"), samples=50))
    assert (found.reference, found.samples) == ("int8", 50)
    assert found.precisions["int8"].mcnemar == 1.0
    assert found.precisions["int8"].accuracy.drop == 0


def test_classes_and_confusions_add_up(report):
    figures = report.precisions["int8"].figures
    assert sum(each.truths for each in figures.by_class) == report.samples
    assert sum(pair.count for pair in figures.confusions) == report.samples
    right = sum(pair.count for pair in figures.confusions if pair.truth == pair.answer)
    assert 100 * right / report.samples == pytest.approx(report.precisions["int8"].accuracy.value)
    assert sum(each.count for each in figures.bins) == report.samples


def test_an_interrupted_evaluation_goes_on(tiny_bundle, monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEPROOF_CACHE", str(tmp_path))
    whole = evaluate_bundle(EvaluateRequest(tiny_bundle.folder))
    assert not list(tmp_path.rglob("*.npz"))  # nothing stays behind when all is done
    real, calls = evaluation.run_batched, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(evaluation, "run_batched", stopping)
    with pytest.raises(KeyboardInterrupt):
        evaluate_bundle(EvaluateRequest(tiny_bundle.folder))
    assert len(list(cache_folder().rglob("*.npz"))) == 7
    assert evaluate_bundle(EvaluateRequest(tiny_bundle.folder)) == whole
    batches = -(-whole.samples // evaluation.BATCH)
    assert len(calls) == 1 + len(whole.precisions) * batches  # the one that was interrupted runs again


def test_classes_in_another_order_are_those_of_the_bundle(tiny_bundle, digits, report):
    turned = digits.labels[::-1]
    truths = len(turned) - 1 - np.asarray(digits.evaluation.labels)
    data = replace(digits, labels=turned, evaluation=replace(digits.evaluation, labels=truths))
    found = evaluate_bundle(EvaluateRequest(tiny_bundle.folder, data=data))
    assert found.precisions == report.precisions


def test_other_classes_are_refused(tiny_bundle, digits):
    data = replace(digits, labels=("cat", *digits.labels[1:]))
    with pytest.raises(DataError, match="are not those of the bundle"):
        evaluate_bundle(EvaluateRequest(tiny_bundle.folder, data=data))


def test_data_that_the_bundle_cannot_take_is_refused(tiny_bundle):
    with pytest.raises(DataError, match="cannot take the data set indian-pines"):
        evaluate_bundle(EvaluateRequest(tiny_bundle.folder, data=tensors()))


def tensors():
    samples = np.random.default_rng(0).normal(size=(40, 1, 25, 9, 9)).astype(np.float32), np.arange(40) % 10
    return array_dataset(evaluation=samples, calibration=samples, classes="0123456789", name="indian-pines")


def test_a_precision_that_is_not_there_is_refused(tiny_bundle):
    with pytest.raises(InputError, match="fp8"):
        evaluate_bundle(EvaluateRequest(tiny_bundle.folder, precisions=("fp8",)))


def test_the_text_names_models_and_classes(report):
    shown = text(report)
    assert shown.startswith(f"{report.bundle} on digits, {report.samples} samples")
    assert all(name in shown for name in ("fp32", "fp16", "int8", "McNemar p", "top-5", "int8 recall %"))


def test_the_plot_is_a_picture(report, tmp_path):
    plot(report, tmp_path / "evaluation.png")
    with Image.open(tmp_path / "evaluation.png") as image:
        assert image.format == "PNG"


def test_the_command(edgeproof, tiny_bundle):
    options = ("--precision", "FP32", "--samples", "40", "--provider", "cpu", "--json")
    done = edgeproof("evaluate", tiny_bundle.folder, *options)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert (value["samples"], list(value["precisions"])) == (40, ["fp32"])
    done = edgeproof("evaluate", tiny_bundle.folder, "--data", "absent", "--provider", "cpu")
    assert (done.returncode, done.stdout) == (2, "")
