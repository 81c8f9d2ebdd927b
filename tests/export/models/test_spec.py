"""What holds for every network of the registry."""

import pytest
import torch

from edgeproof.export.sources import registry
from edgeproof.export.sources.resolve import check_options
from edgeproof.runtime.errors import ModelError

CLASSES = 7
VARIANTS = [
    pytest.param(name, variant, id=f"{name}-{variant.name}")
    for name, spec in registry.SPECS.items()
    for variant in (spec.standard, spec.small)
    if variant
]
OPTIONS = [
    (name, option, value)
    for name, spec in registry.SPECS.items()
    for option, description in spec.options.items()
    for value in description.allowed
]
AUXILIARY = {"googlenet": 2, "googlenet_5x5": 2}


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_outputs_in_evaluation_and_in_training(name, variant):
    with torch.device("meta"):
        network = variant.build(CLASSES)
        inputs = torch.zeros(2, *variant.input_shape)
    assert network.eval()(inputs).shape == (2, CLASSES)
    outputs = network.train()(inputs)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    assert [output.shape for output in outputs] == [(2, CLASSES)] * (1 + AUXILIARY.get(name, 0))


@pytest.mark.parametrize(("name", "option", "value"), OPTIONS)
def test_every_value_of_every_option(sized, name, option, value):
    spec = registry.find(name)
    for variant in ("standard", "small"):
        if getattr(spec, variant):
            usual, changed = (
                sized(name, CLASSES, variant),
                sized(name, CLASSES, variant, **{option: str(value)}),
            )
            assert (str(usual) == str(changed)) is (value == spec.options[option].default)


@pytest.mark.parametrize("name", registry.SPECS)
def test_options_that_it_does_not_have_are_refused(name):
    with pytest.raises(ModelError, match="has no option 'depth'"):
        check_options(registry.find(name), {"depth": "9"})


@pytest.mark.parametrize(
    ("name", "option", "text"),
    [
        ("mobilenet_v1", "width", "0.3"),
        ("mobilenet_v1", "width", "wide"),
        ("mobilenet_v1", "shallow", "maybe"),
        ("mobilenet_v2_cifar", "width", "2"),
        ("resnext50_32x4d", "groups", "0"),
        ("resnext50_32x4d", "width_per_group", "4.5"),
    ],
)
def test_values_that_an_option_may_not_have_are_refused(name, option, text):
    with pytest.raises(ModelError) as caught:
        check_options(registry.find(name), {option: text})
    assert f"{option}=" in caught.value.details["available"]


@pytest.mark.parametrize("name", registry.SPECS)
def test_small_data_gets_the_small_form_where_there_is_one(name):
    spec = registry.find(name)
    variant = spec.variant_for(small_data=True)
    assert variant is (spec.small or spec.standard)
    assert max(variant.input_shape[-2:]) <= 64
    assert spec.variant_for(small_data=False) is spec.standard


@pytest.mark.parametrize("name", registry.SPECS)
def test_demo_weights_need_no_network(name):
    spec = registry.find(name)
    assert spec.data[0] == ("indian-pines" if len(spec.standard.input_shape) == 4 else "digits")


def test_the_digits_fit_every_network_of_pictures(digits):
    for spec in registry.SPECS.values():
        shape = spec.variant_for(small_data=True).input_shape
        if len(shape) == 3:
            assert digits.evaluation.take([0]).tensor(digits.preprocess(shape)).shape == (1, *shape)
