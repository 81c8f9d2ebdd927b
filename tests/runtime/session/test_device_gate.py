import threading
import time

from edgeproof.runtime.session.device_gate import DeviceGate


def started(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_inferences_pass_together():
    gate, inside = DeviceGate(), threading.Barrier(3)

    def work():
        with gate.shared():
            inside.wait(20)

    threads = [started(work) for _ in range(3)]
    for thread in threads:
        thread.join(20)
    assert not inside.broken


def test_whoever_is_alone_waits_for_those_inside_and_keeps_others_out():
    gate, events = DeviceGate(), []
    entered, leave = threading.Event(), threading.Event()

    def infer():
        with gate.shared():
            entered.set()
            leave.wait(20)
            events.append("first inference")

    def record():
        with gate.exclusive():
            events.append("recording")
            time.sleep(0.05)
            events.append("recorded")

    def infer_later():
        with gate.shared():
            events.append("second inference")

    first = started(infer)
    entered.wait(20)
    recorder = started(record)
    while gate._owner is None:
        time.sleep(0.001)
    second = started(infer_later)
    time.sleep(0.05)
    assert events == []
    leave.set()
    for thread in (first, recorder, second):
        thread.join(20)
    assert events == ["first inference", "recording", "recorded", "second inference"]


def test_a_thread_that_is_alone_may_enter_both_again():
    gate = DeviceGate()
    with gate.exclusive(), gate.exclusive(), gate.shared():
        pass
    with gate.shared():
        pass


def test_an_error_inside_leaves_the_gate_open():
    gate = DeviceGate()
    for way in (gate.exclusive, gate.shared):
        try:
            with way():
                raise ValueError
        except ValueError:
            pass
    thread = started(lambda: gate.exclusive().__enter__())
    thread.join(20)
    assert not thread.is_alive()
