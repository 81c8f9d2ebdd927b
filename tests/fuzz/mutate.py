"""Small damages to a file: bytes that flip, pieces that go or come twice, numbers at their limits."""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import Any

NUMBERS = (-1, 0, 1, 127, 128, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
PIECES = (
    b"",
    b"\x00",
    b"\xff" * 8,
    b"../",
    b"/etc/passwd",
    b"%s%n",
    "ä€".encode(),
    b"-1",
    b"1e999",
    b"NaN",
    b"[" * 400,
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "x", "..", "../../etc/passwd", "/etc/passwd", "a\x00b", "\ud800", "é" * 300, "fp32", "input"),
    *([], {}, [[]], [None], [0] * 300, {"a": {}}, [1, 2, 3]),
)
MOST_STEPS = 4


def mutated_bytes(seed: bytes, chance: random.Random) -> bytes:
    """The seed with one to four damages."""
    data = bytearray(seed)
    for _ in range(chance.randint(1, MOST_STEPS)):
        chance.choice(BYTE_STEPS)(data, chance)
    return bytes(data)


def mutated_json(seed: bytes, chance: random.Random) -> bytes:
    """JSON of the same kind with one to four values replaced, removed, doubled or moved; or damaged bytes."""
    if chance.random() < 0.1:
        return mutated_bytes(seed, chance)
    value = json.loads(seed)
    for _ in range(chance.randint(1, MOST_STEPS)):
        value = _with_change(value, chance)
    return json.dumps(value).encode("utf-8", errors="surrogatepass")


def _with_change(whole: Any, chance: random.Random) -> Any:
    places = list(_places(whole))
    if not places:
        return copy.deepcopy(chance.choice(VALUES))
    container, key = chance.choice(places)
    step = chance.randrange(5)
    if step == 0:
        container[key] = copy.deepcopy(chance.choice(VALUES))
    elif step == 1:
        del container[key]
    elif step == 2 and isinstance(container, dict):
        container[chance.choice(["", "input", "x" * 300, str(key) * 2])] = copy.deepcopy(container[key])
    elif step == 3:
        other, there = chance.choice(places)
        container[key] = copy.deepcopy(other[there]) if _has(other, there) else None
    elif isinstance(container[key], (int, float)) and not isinstance(container[key], bool):
        container[key] = chance.choice([container[key] * -1, container[key] + 1, *NUMBERS])
    elif isinstance(container[key], list):
        container[key] = container[key] * chance.choice([0, 2, 50])
    else:
        container[key] = copy.deepcopy(chance.choice(VALUES))
    return whole


def _has(container: Any, key: Any) -> bool:
    return key in container if isinstance(container, dict) else key < len(container)


def _places(value: Any) -> Any:
    """Every place in a JSON value, as its container and its key there."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])


def _flip(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _number(data: bytearray, chance: random.Random) -> None:
    size = chance.choice([1, 2, 4, 8])
    if len(data) >= size:
        at = chance.randrange(len(data) - size + 1)
        number = chance.choice(NUMBERS) & (256**size - 1)
        code = chance.choice("<>") + {1: "B", 2: "H", 4: "I", 8: "Q"}[size]
        data[at : at + size] = struct.pack(code, number)


def _cut(data: bytearray, chance: random.Random) -> None:
    if data:
        start = chance.randrange(len(data))
        del data[start : start + chance.choice([1, 4, 64, len(data)])]


def _insert(data: bytearray, chance: random.Random) -> None:
    at = chance.randint(0, len(data))
    data[at:at] = chance.choice(PIECES)


def _double(data: bytearray, chance: random.Random) -> None:
    if data:
        start = chance.randrange(len(data))
        piece = data[start : start + chance.choice([1, 8, 64, 512])]
        at = chance.randint(0, len(data))
        data[at:at] = piece


BYTE_STEPS = (_flip, _flip, _overwrite, _number, _number, _cut, _insert, _double)
