"""A small network, the simulation of its INT8 form, and calibration inputs."""

import pytest

from edgeproof.calibration.artifact import OnnxArtifact
from edgeproof.calibration.passes.cross_layer_equalization import channel_statistics, find_pairs
from edgeproof.calibration.qdq.quantized_inputs import find_quantized_inputs
from edgeproof.calibration.ranges.statistics import collect_ranges
from edgeproof.calibration.recovery.simulate import QuantizedGraph


@pytest.fixture
def simulate(network, photos):
    """Makes the simulation of the network's INT8 form, before anything is recovered."""

    def simulate():
        values = [pair.value for pair in find_pairs(network.model)]
        found = channel_statistics(network.model, values, [photos])
        limits = {name: channels.maxima for name, channels in found.items()}
        ranges = collect_ranges(network.model, [photos])
        return QuantizedGraph(network.model, find_quantized_inputs(network.model), ranges, limits)

    return simulate


@pytest.fixture
def student(simulate):
    """One such simulation."""
    return simulate()


@pytest.fixture
def answers(run, photos):
    """The first output of a fake-quantized graph on the pictures."""
    return lambda model: next(iter(run(OnnxArtifact(model, "fake-quantized"), photos).values()))
