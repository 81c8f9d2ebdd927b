import dataclasses

import numpy as np
import pytest

from edgeproof.runtime.bundle.parity import TOLERANCES, compare
from edgeproof.runtime.bundle.summary import summarize


@pytest.fixture
def manifest(bundle):
    return bundle.manifest


def row(text, precision):
    return next(line for line in text.splitlines() if line.split()[:1] == [precision])


def with_model(manifest, precision, **changes):
    entry = dataclasses.replace(manifest.models[precision], **changes)
    return dataclasses.replace(manifest, models={**manifest.models, precision: entry})


def test_the_title_names_the_model_its_form_and_input(manifest):
    assert summarize(manifest).splitlines()[0] == "colours (small form, input 3x8x8)"


def test_there_is_one_line_for_each_precision_and_the_verdict_comes_last(manifest):
    text = summarize(manifest)
    assert row(text, "fp32").split()[1:4] == ["ok", "exact", "100.00%"]
    fp16 = row(text, "fp16").split()
    assert fp16[1] == "ok"
    assert float(fp16[2]) > 60
    assert text.splitlines()[-1] == "ship fp16: it holds the budget"


def test_columns_stand_under_each_other(manifest):
    header, rule, *rows = summarize(manifest).splitlines()[1:-1]
    assert {len(line) for line in (header, rule, *rows)} == {len(header)}
    assert "SQNR dB" in header


def test_a_drop_has_its_sign_and_interval(manifest):
    accuracy = dataclasses.replace(manifest.models["fp16"].accuracy, value=91.5, drop=0.5, ci95=(-0.25, 1.25))
    line = row(summarize(with_model(manifest, "fp16", accuracy=accuracy)), "fp16")
    assert line.split()[4:9] == ["91.50", "+0.50", "-0.25", "..", "+1.25"]


def test_a_model_without_labels_has_dashes_for_accuracy(manifest):
    line = row(summarize(with_model(manifest, "fp16", accuracy=None)), "fp16")
    assert line.split()[4:7] == ["-", "-", "-"]


def test_a_failed_proof_stands_out(manifest):
    values = np.random.default_rng(0).normal(size=(4, 3))
    failed = compare(values, -values, TOLERANCES["fp16"])
    assert row(summarize(with_model(manifest, "fp16", parity=failed)), "fp16").split()[1] == "FAILED"


def test_what_could_not_be_measured_is_not_called_exact(manifest):
    values = np.random.default_rng(0).normal(size=(4, 3))
    broken = compare(values, np.full_like(values, np.nan), TOLERANCES["fp16"])
    line = row(summarize(with_model(manifest, "fp16", parity=broken)), "fp16")
    assert "FAILED" in line
    assert "exact" not in line


def test_nodes_of_another_precision_are_counted_by_precision_and_the_first_named(manifest):
    kept = {f"node_{i}": "float32" for i in range(7)} | {"gate": "float16"}
    text = summarize(with_model(manifest, "fp16", kept=kept))
    assert "fp16 keeps 7 node(s) in float32: node_0, node_1, node_2, node_3, node_4" in text
    assert "node_5" not in text
    assert "fp16 keeps 1 node(s) in float16: gate" in text


def test_it_says_what_int8_was_made_for(manifest):
    models = {**manifest.models, "int8": dataclasses.replace(manifest.models["fp16"], file="model.int8.onnx")}
    assert "int8 was made for" not in summarize(dataclasses.replace(manifest, models=models))
    assert "int8 was made for cpu" in summarize(dataclasses.replace(manifest, models=models, target="cpu"))
