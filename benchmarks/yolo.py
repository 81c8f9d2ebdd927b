"""A detector of YOLOv8's layout for `digit-scenes`: split blocks with SiLU, a path network, one output.

One output, shape (N, 4 + classes, A): centre, width and height in pixels beside class scores, as an INT8 tool
meets it in an ONNX file. `benchmarks/train_yolo.py` trains it, and

    edgeproof export benchmarks/yolo.py:network --weights FILE --input 3x64x64 --data digit-scenes
        --task detection:yolov8

exports it. The structure follows Ultralytics' description of YOLOv8 (docs.ultralytics.com/models/yolov8); the
distances of a side are the mean of a distribution (Li et al., Generalized Focal Loss, arXiv 2006.04388).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

SIDE = 64  # pixels of the input
STRIDES = (8, 16, 32)
WIDTHS = (16, 32, 64, 96, 128)
BINS = 8  # of the distribution of one distance, in cells


class ConvBlock(nn.Sequential):
    """Convolution, batch norm, SiLU."""

    def __init__(self, taken: int, given: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(taken, given, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(given), nn.SiLU()
        )


class Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvBlock(width, width), ConvBlock(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """The same shape."""
        return features + self.body(features)


class SplitBlock(nn.Module):
    """Half of the channels pass by, half go through residual blocks, and all steps are joined."""

    def __init__(self, taken: int, given: int, blocks: int = 1) -> None:
        super().__init__()
        half = given // 2
        self.enter = ConvBlock(taken, given, 1)
        self.blocks = nn.ModuleList(Residual(half) for _ in range(blocks))
        self.leave = ConvBlock((2 + blocks) * half, given, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Other channels, the same sides."""
        steps = list(self.enter(features).chunk(2, dim=1))
        for block in self.blocks:
            steps.append(block(steps[-1]))
        return self.leave(torch.cat(steps, dim=1))


class Pyramid(nn.Module):
    """Pooling in several sizes, one after the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.enter, self.leave = ConvBlock(width, width // 2, 1), ConvBlock(2 * width, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """The same shape."""
        steps = [self.enter(features)]
        for _ in range(3):
            steps.append(functional.max_pool2d(steps[-1], 5, stride=1, padding=2))
        return self.leave(torch.cat(steps, dim=1))


class Branch(nn.Sequential):
    """What the head says of one scale: two blocks and a convolution."""

    def __init__(self, taken: int, width: int, given: int) -> None:
        super().__init__(ConvBlock(taken, width), ConvBlock(width, width), nn.Conv2d(width, given, 1))


class Yolo(nn.Module):
    """The network.

    Args:
        classes: of objects.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        first, second, third, fourth, fifth = WIDTHS
        self.classes = classes
        self.stem = nn.Sequential(ConvBlock(3, first, stride=2), ConvBlock(first, second, stride=2))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(SplitBlock(second, second), ConvBlock(second, third, stride=2)),
                nn.Sequential(SplitBlock(third, third, 2), ConvBlock(third, fourth, stride=2)),
                nn.Sequential(SplitBlock(fourth, fourth, 2), ConvBlock(fourth, fifth, stride=2)),
            ]
        )
        self.pyramid = nn.Sequential(SplitBlock(fifth, fifth), Pyramid(fifth))
        self.rising = nn.ModuleList([SplitBlock(fifth + fourth, fourth), SplitBlock(fourth + third, third)])
        self.steps = nn.ModuleList([ConvBlock(third, third, stride=2), ConvBlock(fourth, fourth, stride=2)])
        self.falling = nn.ModuleList([SplitBlock(third + fourth, fourth), SplitBlock(fourth + fifth, fifth)])
        scales = (third, fourth, fifth)
        self.sides = nn.ModuleList(Branch(width, 4 * BINS, 4 * BINS) for width in scales)
        self.scores = nn.ModuleList(Branch(width, third, classes) for width in scales)
        centres, strides = cells(SIDE)
        self.register_buffer("centres", centres, persistent=False)
        self.register_buffer("strides", strides, persistent=False)
        self.register_buffer("bins", torch.arange(BINS, dtype=torch.float32), persistent=False)
        for branch in self.scores:
            nn.init.constant_(branch[-1].bias, -4.0)  # at first nothing is an object

    def forward(self, pictures: Tensor) -> Tensor:
        """Boxes and class scores of pictures, shape (N, 4 + classes, A)."""
        distributions, logits = self.raw(pictures)
        low, high = self.distances(distributions).chunk(2, dim=2)
        centres, strides = self.centres, self.strides
        middle, sides = centres + (high - low) / 2 * strides, (low + high) * strides
        return torch.cat([middle, sides, logits.sigmoid()], dim=2).transpose(1, 2)

    def raw(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Distributions of distances, shape (N, A, 4, BINS), and class logits, (N, A, classes)."""
        found = self._scales(pictures)
        sides = [branch(each).flatten(2) for branch, each in zip(self.sides, found, strict=True)]
        scores = [branch(each).flatten(2) for branch, each in zip(self.scores, found, strict=True)]
        distributions = torch.cat(sides, dim=2).transpose(1, 2)
        return distributions.unflatten(2, (4, BINS)), torch.cat(scores, dim=2).transpose(1, 2)

    def distances(self, distributions: Tensor) -> Tensor:
        """Left, top, right, bottom from an anchor's centre, in cells: shape (N, A, 4)."""
        return (distributions.softmax(dim=3) * self.bins).sum(dim=3)

    def _scales(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        third = self.stages[0](self.stem(pictures))
        fourth = self.stages[1](third)
        fifth = self.pyramid(self.stages[2](fourth))
        middle = self.rising[0](torch.cat([_doubled(fifth), fourth], dim=1))
        fine = self.rising[1](torch.cat([_doubled(middle), third], dim=1))
        middle = self.falling[0](torch.cat([self.steps[0](fine), middle], dim=1))
        coarse = self.falling[1](torch.cat([self.steps[1](middle), fifth], dim=1))
        return fine, middle, coarse


def network(num_classes: int) -> Yolo:
    """The factory that `edgeproof export` calls."""
    return Yolo(num_classes)


def cells(side: int) -> tuple[Tensor, Tensor]:
    """Centres in pixels, shape (A, 2), and strides, shape (A, 1), of the cells of all scales."""
    centres, strides = [], []
    for stride in STRIDES:
        middles = (torch.arange(side // stride) + 0.5) * stride
        rows, columns = torch.meshgrid(middles, middles, indexing="ij")
        centres.append(torch.stack([columns.flatten(), rows.flatten()], dim=1))
        strides.append(torch.full((len(centres[-1]), 1), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def _doubled(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")
