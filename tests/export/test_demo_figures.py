"""The demo weights that the issue of tasks promises: on held-out scenes, from scratch."""

import pytest

from edgeproof.export.data import catalog
from edgeproof.export.pretrained.weights import from_demo
from edgeproof.export.sources import registry

WANTED = 80.0  # percent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "metric"), [("lraspp_mobilenet_v3_large", "mIoU"), ("ssdlite320_mobilenet_v3_large", "mAP@0.5")]
)
def test_demo_weights_know_the_scenes(name, metric, progress):
    spec = registry.find(name)
    data = catalog.find(spec.data[0], spec.task)
    variant = spec.variant_for(small_data=data.small)
    trained = from_demo(spec, variant, data, data.preprocess(variant.input_shape), progress)
    assert trained.record.detail["metric"] == metric
    assert trained.record.detail["score"] >= WANTED
