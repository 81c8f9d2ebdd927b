"""Two trainings are told apart by whatever their weights depend on."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from edgeproof.export.models.spec import Variant
from edgeproof.export.training.fingerprint import data_fingerprint, network_fingerprint, require_same
from edgeproof.runtime.errors import WeightsError

FORM = Variant("small", (3, 8, 8), lambda classes: nn.Linear(3, classes))


def test_other_modules_make_another_network():
    first, second = (network_fingerprint("net", FORM, {}, nn.Linear(3, width)) for width in (4, 5))
    assert first["digest"] != second["digest"]
    assert {**first, "digest": ""} == {**second, "digest": ""}


def test_a_data_set_that_was_changed_is_another(digits):
    train = digits.train
    relabelled = replace(train, labels=train.labels[::-1].copy())
    first, second = (data_fingerprint("digits", part, digits.evaluation) for part in (train, relabelled))
    assert first != second


def test_every_difference_is_named_and_only_those():
    wanted = {"recipe": {"epochs": 2, "rate": 0.1}, "model": {"options": {"width": 0.5}}}
    found = {"recipe": {"epochs": 3, "rate": 0.1}, "model": {"options": {}}}
    with pytest.raises(WeightsError) as caught:
        require_same(wanted, found, Path("checkpoint.pt"))
    assert caught.value.details["wanted"] == "recipe.epochs = 2\nmodel.options.width = 0.5"
    assert caught.value.details["got"] == "recipe.epochs = 3\nmodel.options.width = None"
    assert "--fresh" in caught.value.details["to do"]


def test_the_same_settings_pass():
    require_same({"a": {"b": 1}}, {"a": {"b": 1}}, Path("checkpoint.pt"))
