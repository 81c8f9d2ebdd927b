"""Seven shapes: pictures of them, and a MobileNetV3 that is trained to tell them apart, as yours may be.

python shapes.py        writes the folder shapes and the weights shapes.pth; three minutes on one core
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

SIDE = 64
PICTURE = (160, 120)
COUNTS = {"train": 240, "val": 100}  # pictures of each shape
EPOCHS, BATCH, RATE = 10, 32, 3e-3
TRANSFORM = transforms.Compose([
    transforms.Resize((SIDE, SIDE)),
    transforms.ToTensor(),
    transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
])  # fmt: skip


def polygon(corners: int, inner: float = 1.0) -> list[tuple[float, float]]:
    """A regular polygon around 0 with radius 1; every other corner at the inner radius."""
    angles = [2 * math.pi * i / corners for i in range(corners)]
    radii = [inner if i % 2 else 1.0 for i in range(corners)]
    return [(r * math.sin(a), -r * math.cos(a)) for r, a in zip(radii, angles, strict=True)]


SHAPES = {
    "arrow": [(0, -1), (0.8, 0), (0.3, 0), (0.3, 1), (-0.3, 1), (-0.3, 0), (-0.8, 0)],
    "circle": polygon(48),
    "cross": [(0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1),
              (-0.3, 1), (-0.3, 0.3), (-1, 0.3), (-1, -0.3), (-0.3, -0.3), (-0.3, -1)],
    "hexagon": polygon(6),
    "square": polygon(4),
    "star": polygon(10, 0.45),
    "triangle": polygon(3),
}  # fmt: skip


def picture(shape: str, random: np.random.Generator) -> Image.Image:
    """One shape at a random place, size, angle and colour on a noisy ground."""
    ground = random.integers(0, 256, 3)
    noise = random.normal(0, 12, (PICTURE[1], PICTURE[0], 3))
    image = Image.fromarray(np.clip(ground + noise, 0, 255).astype(np.uint8))
    colour = tuple(int(value) for value in (ground + random.integers(90, 166, 3)) % 256)
    size, angle = random.uniform(34, 56), random.uniform(-0.4, 0.4)
    x, y = random.uniform(size, PICTURE[0] - size), random.uniform(size, PICTURE[1] - size)
    turned = [
        (
            x + size * (a * math.cos(angle) - b * math.sin(angle)),
            y + size * (a * math.sin(angle) + b * math.cos(angle)),
        )
        for a, b in SHAPES[shape]
    ]
    ImageDraw.Draw(image).polygon(turned, fill=colour)
    return image


def build(num_classes: int = len(SHAPES)) -> nn.Module:
    """torchvision's MobileNetV3-Small with a head for our classes."""
    return models.mobilenet_v3_small(num_classes=num_classes)


def write_pictures(folder: Path) -> None:
    """shapes/train/star/0.jpg and so on."""
    random = np.random.default_rng(0)
    for part, count in COUNTS.items():
        for shape in SHAPES:
            (folder / part / shape).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                picture(shape, random).save(folder / part / shape / f"{number}.jpg", quality=92)


def train(folder: Path) -> nn.Module:
    """A usual training."""
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.1  # torchvision's 0.01 needs thousands of steps
    batches = DataLoader(datasets.ImageFolder(folder, TRANSFORM), BATCH, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * len(batches))
    for epoch in range(EPOCHS):
        for images, labels in batches:
            optimizer.zero_grad()
            loss = cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1} of {EPOCHS}: loss {loss.item():.3f}")
    return network.eval()


if __name__ == "__main__":
    write_pictures(Path("shapes"))
    torch.save(train(Path("shapes/train")).state_dict(), "shapes.pth")
