"""Buffers on a device for one shape of batch, bound once and then only written and read."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .device_gate import GATE

MAX_BOUND_SHAPES = 8  # of batches whose buffers are kept on a device

Mark = Callable[[], None]
"""Called when a batch has been copied to the device, and again when the device is done."""


def no_mark() -> None:
    """The `Mark` of an inference that nobody measures."""


class Binding:
    """A session's input and outputs on a device, at fixed addresses, as a CUDA graph needs them.

    Args:
        ort: the onnxruntime module.
        session: a session on that device.
        batch: the first batch; later ones must have its shape and dtype.
        input_name: name of the input.
        output_names: names of the outputs, in the order in which `run` gives them.
        device: ONNX Runtime's name of the device.
        index: which of these devices.
    """

    def __init__(
        self,
        ort: Any,
        session: Any,
        batch: NDArray[Any],
        *,
        input_name: str,
        output_names: tuple[str, ...],
        device: str,
        index: int = 0,
    ) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._input = ort.OrtValue.ortvalue_from_shape_and_type(batch.shape, batch.dtype.type, device, index)
        self._binding.bind_ortvalue_input(input_name, self._input)
        for name in output_names:
            self._binding.bind_output(name, device, index)
        self._input.update_inplace(np.ascontiguousarray(batch))
        session.run_with_iobinding(self._binding)
        # The first run has told the shapes of the outputs: from here on they stay where they are.
        self._outputs = self._binding.get_outputs()
        for name, value in zip(output_names, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def run(self, batch: NDArray[Any], mark: Mark = no_mark) -> list[NDArray[Any]]:
        """Infer one batch and return copies of the outputs."""
        self._input.update_inplace(np.ascontiguousarray(batch))
        mark()
        self._session.run_with_iobinding(self._binding)  # returns when the device is done
        mark()
        return [np.array(value.numpy()) for value in self._outputs]


Bind = Callable[[NDArray[Any]], Binding]


class Bindings(Protocol):
    """The bindings of one session."""

    def run(self, batch: NDArray[Any], bind: Bind, mark: Mark = no_mark) -> list[NDArray[Any]]:
        """Infer one batch and return copies of the outputs.

        Args:
            batch: what to infer.
            bind: makes a binding, where there is none that can be used.
            mark: called during the inference.
        """
        ...

    def clear(self) -> None:
        """Release the buffers."""
        ...


class RecordedBinding:
    """The one binding of a session whose launches are replayed as a CUDA graph.

    A graph is recorded for the addresses of this binding, and must not be replayed by two threads at once.
    The CUDA provider keeps one graph for each thread, so a thread's first inference records one, while no
    other thread uses the device. TensorRT's keeps one graph in all.
    """

    def __init__(self) -> None:
        self._turn = Lock()
        self._binding: Binding | None = None
        self._recorded: set[int] = set()

    def run(self, batch: NDArray[Any], bind: Bind, mark: Mark = no_mark) -> list[NDArray[Any]]:
        """Infer one batch, when no other thread does, and return copies of the outputs."""
        thread = get_ident()
        if thread not in self._recorded:
            return self._record(thread, batch, bind, mark)
        with GATE.shared(), self._turn:
            if self._binding is not None:
                return self._binding.run(batch, mark)
        return self._record(thread, batch, bind, mark)

    def clear(self) -> None:
        """Release the buffers."""
        with self._turn:
            self._binding = None
            self._recorded.clear()

    def _record(self, thread: int, batch: NDArray[Any], bind: Bind, mark: Mark) -> list[NDArray[Any]]:
        with GATE.exclusive(), self._turn:
            self._binding = self._binding or bind(batch)
            outputs = self._binding.run(batch, mark)
            self._recorded.add(thread)
            return outputs


class BindingPool:
    """Bindings that are idle, by shape of batch: inferences that run at once never share buffers."""

    def __init__(self) -> None:
        self._idle: dict[tuple[int, ...], list[Binding]] = {}
        self._lock = Lock()

    def run(self, batch: NDArray[Any], bind: Bind, mark: Mark = no_mark) -> list[NDArray[Any]]:
        """Infer one batch and return copies of the outputs."""
        binding = self._take(batch.shape)
        if binding is None:
            with GATE.exclusive():  # it allocates
                binding = bind(batch)
        try:
            with GATE.shared():
                return binding.run(batch, mark)
        finally:
            with self._lock:
                self._idle.setdefault(batch.shape, []).append(binding)

    def clear(self) -> None:
        """Release the buffers."""
        with self._lock:
            self._idle.clear()

    def _take(self, shape: tuple[int, ...]) -> Binding | None:
        with self._lock:
            if shape not in self._idle and len(self._idle) >= MAX_BOUND_SHAPES:
                del self._idle[next(iter(self._idle))]
            idle = self._idle.setdefault(shape, [])
            return idle.pop() if idle else None
