"""A small network, the simulation of its INT8 form, and calibration inputs."""

import numpy as np
import pytest

from edgeproof.calibration.batches import CalibrationSet
from edgeproof.calibration.collect import collect_ranges
from edgeproof.calibration.equalize import channel_maxima, find_pairs
from edgeproof.calibration.learning.simulate import QuantizedGraph
from edgeproof.calibration.sites import find_sites


@pytest.fixture
def simulate(network, photos):
    """Makes the simulation of the network's INT8 form, as it is before anything is learned."""

    def simulate():
        limits = channel_maxima(network.model, find_pairs(network.model), [photos])
        ranges = collect_ranges(network.model, [photos])
        return QuantizedGraph(network.model, find_sites(network.model), ranges, limits)

    return simulate


@pytest.fixture
def student(simulate):
    """One such simulation."""
    return simulate()


@pytest.fixture(scope="session")
def samples(photos):
    """The pictures as calibration inputs."""
    return CalibrationSet(lambda positions: photos[np.asarray(positions)], len(photos), "0" * 64)
