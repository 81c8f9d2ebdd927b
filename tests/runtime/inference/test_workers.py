import threading
import time
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeproof.runtime.inference.workers import OrderedWorkers


def settled(read, wanted):
    """Wait until other threads have brought a value about, some seconds at most."""
    deadline = time.monotonic() + 20
    while read() != wanted and time.monotonic() < deadline:
        time.sleep(0.001)
    return read()


@settings(max_examples=30)
@given(
    items=st.lists(st.integers()), workers=st.integers(1, 6), depth=st.integers(1, 8), most=st.integers(1, 9)
)
def test_it_is_a_map_that_keeps_the_order(items, workers, depth, most):
    with OrderedWorkers(lambda item: item * 2, items, workers=workers, depth=depth) as stage:
        results = []
        while taken := stage.take_ready(most):
            assert len(taken) <= most
            results += taken
        assert stage.take_ready(most) == []
    assert results == [item * 2 for item in items]


@settings(max_examples=30)
@given(items=st.lists(st.integers()), first=st.integers(1, 4), second=st.integers(1, 4))
def test_stages_follow_one_another(items, first, second):
    with (
        OrderedWorkers(str, items, workers=first, depth=first) as ahead,
        OrderedWorkers(int, ahead, workers=second, depth=second) as behind,
    ):
        assert list(behind) == items


def test_a_slow_item_does_not_let_a_later_one_pass():
    later = threading.Event()

    def work(item):
        if item == 0:
            assert later.wait(30)
        if item == 3:
            later.set()
        return item

    with OrderedWorkers(work, range(6), workers=2, depth=6) as stage:
        assert list(stage) == list(range(6))


def test_no_more_is_drawn_than_there_is_room_for():
    drawn = count()
    seen = []

    def items():
        for item in drawn:
            seen.append(item)
            yield item

    with OrderedWorkers(lambda item: item, items(), workers=3, depth=5) as stage:
        assert settled(lambda: len(seen), 5) == 5
        stage.take_ready(1)
        assert settled(lambda: len(seen), 6) == 6


def test_results_come_while_the_next_item_is_waited_for():
    gate = threading.Event()

    def items():
        yield "first"
        assert gate.wait(30)
        yield "second"

    with OrderedWorkers(str.upper, items(), workers=2, depth=4) as stage:
        assert stage.take_ready(2) == ["FIRST"]
        gate.set()
        assert list(stage) == ["SECOND"]


def test_an_error_is_raised_in_the_place_of_its_result():
    with OrderedWorkers(lambda item: 6 // item, [1, 2, 0, 3], workers=2, depth=4) as stage:
        assert [stage.take_ready(1), stage.take_ready(1)] == [[6], [3]]
        with pytest.raises(ZeroDivisionError):
            stage.take_ready(4)
        assert list(stage) == [2]


def test_an_error_of_the_items_comes_after_their_results():
    def items():
        yield 1
        raise OSError("the disk is gone")

    with OrderedWorkers(str, items(), workers=3, depth=4) as stage:
        assert stage.take_ready(1) == ["1"]
        with pytest.raises(OSError, match="disk is gone"):
            stage.take_ready(1)
        assert stage.take_ready(1) == []


def test_after_stop_what_is_under_way_is_given():
    started, gate = [], threading.Event()

    def work(item):
        started.append(item)
        assert gate.wait(30)
        return item

    with OrderedWorkers(work, count(), workers=3, depth=3) as stage:
        assert settled(lambda: sorted(started), [0, 1, 2]) == [0, 1, 2]
        stage.stop()
        gate.set()
        assert list(stage) == [0, 1, 2]


def test_stop_does_not_wait_for_an_item_that_does_not_come():
    gate = threading.Event()

    def items():
        yield 1
        gate.wait(30)

    with OrderedWorkers(str, items(), workers=2, depth=2) as stage:
        assert stage.take_ready(1) == ["1"]
        stage.stop()
        assert stage.take_ready(1) == []
        gate.set()


def test_close_leaves_no_thread():
    before = threading.active_count()
    stage = OrderedWorkers(str, count(), workers=4, depth=8)
    stage.take_ready(1)
    stage.close()
    assert threading.active_count() == before
