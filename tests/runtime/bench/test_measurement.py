"""What counts in a benchmark, with sessions that take as long as they are told."""

import numpy as np
import pytest

from edgeproof.runtime.bench.measurement import BenchmarkCase, run_interleaved
from edgeproof.runtime.device.power import Meter, Reading
from edgeproof.runtime.providers.placement import Placement

SAMPLES = np.zeros((2, 3, 8, 8), np.float32)


class Machine:
    """A clock that only work moves; its caches hold the data of the session that ran last."""

    def __init__(self):
        self.now, self.cached = 0.0, None

    def __call__(self):
        return self.now


class TimedSession:
    """Takes 1 s for the copy there, 4 s to compute and 2 s for the copy back; 100 s more with cold caches."""

    placement, precision = Placement("cuda", "cuda", {}), "fp32"
    input_shape = ("batch", 3, 8, 8)

    def __init__(self, machine):
        self.machine = machine

    def run(self, batch, mark):
        cold = 0 if self.machine.cached is self else 100
        self.machine.cached = self
        self.machine.now += 1 + cold
        mark()
        self.machine.now += 4
        mark()
        self.machine.now += 2


def case(machine, meter=None):
    opened = BenchmarkCase(lambda: TimedSession(machine), SAMPLES, machine, meter or Meter(no_sensors))
    opened.warm_up(0)
    return opened


def no_sensors():
    return Reading({}, {})


def test_the_first_run_after_another_case_is_not_counted():
    machine = Machine()
    cases = [case(machine), case(machine)]
    run_interleaved(cases, turns=3, duration=60)
    for found in (one.measurement(None) for one in cases):
        assert found.latency.samples == 3 * 3  # each turn of 20 s holds three runs of 7 s
        assert (found.latency.least, found.latency.most) == (7000, 7000)
        assert found.throughput == pytest.approx(len(SAMPLES) / 7)


def test_copies_and_computing_are_told_apart():
    machine = Machine()
    (measured,) = cases = [case(machine)]
    run_interleaved(cases, turns=1, duration=50)
    found = measured.measurement(0.5)
    assert (found.copy_ms, found.device_ms, found.preprocess_ms) == (3000, 4000, 1000)


def test_what_is_compared_takes_turns():
    order = []

    class Noted:
        def __init__(self, name):
            self.name = name

        def measure(self, seconds):
            order.append((self.name, seconds))

    run_interleaved([Noted("a"), Noted("b")], turns=2, duration=3)
    assert order == [("a", 1.5), ("b", 1.5)] * 2
