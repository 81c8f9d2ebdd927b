"""A network in memory, and arrays for its inputs, become a bundle."""

import numpy as np
import torch
from torch import nn

from edgeproof.export import ExportRequest, array_dataset, export_bundle
from edgeproof.runtime import Preprocess

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 2)
)

generator = np.random.default_rng(0)
pictures = generator.integers(0, 256, (64, 16, 16, 3), dtype=np.uint8)  # N x H x W x RGB
pictures[:32] //= 4  # the first half is dark
labels = np.repeat([0, 1], 32)
preprocess = Preprocess(resize=(16, 16), crop=None, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

inputs = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1  # as `preprocess` makes them
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
for _ in range(30):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(inputs), torch.from_numpy(labels)).backward()
    optimizer.step()
network.eval()

bundle = export_bundle(
    ExportRequest(
        model=network,
        data=array_dataset(
            evaluation=(pictures[::2], labels[::2]),
            calibration=(pictures[1::2], labels[1::2]),
            classes=("dark", "bright"),
        ),
        preprocess=preprocess,
        precisions=("fp32", "fp16"),
        out="bundle",
    )
)
assert bundle.manifest.models["fp16"].accuracy.top1 == 100
