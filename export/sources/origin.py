"""Where an export starts. All that comes after it is about ONNX models, and needs no PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...calibration.artifact import OnnxArtifact


class Origin(ABC):
    """What is exported: a network of PyTorch's, or an ONNX file.

    Attributes:
        title: whose answers the reference's are, in messages: "PyTorch" or "the ONNX file".
    """

    title: str

    @abstractmethod
    def answers(self, inputs: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        """Its outputs for some inputs, by the names that they have in the ONNX model, each of shape (N, ...).

        Raises:
            ModelError: it does not take the inputs, or its outputs are no tensors.
        """

    @abstractmethod
    def first_model(self, example: NDArray[np.float32]) -> OnnxArtifact:
        """The first ONNX model, with a dynamic batch where that can be.

        Args:
            example: real inputs, at least two, first axis the batch.

        Raises:
            ExportError: it cannot be expressed in ONNX.
        """

    @abstractmethod
    def inside(self, inputs: NDArray[np.float32]) -> Mapping[str, NDArray[Any]]:
        """What it computes on the way, by the ONNX model's names, to find the first node that differs."""
