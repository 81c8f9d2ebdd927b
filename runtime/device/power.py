"""Power and temperature of a board, from the kernel's sensor files, which need no root and no tegrastats.

A Jetson measures its rails with INA3221 chips, and Thor its input with an INA238
(https://docs.kernel.org/hwmon/ina3221.html and ina238.html). tegrastats prints the same sensors.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .jetson import ROOT

INPUT_RAILS = ("VIN", "VDD_IN")  # what the whole board, or the whole module, takes
# Rails that add up to a module whose input is not measured. VDDQ_VDD2_1V8AO is fed from VIN_SYS_5V0.
INPUT_PARTS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"))
JUNCTION_ZONE = "tj-thermal"  # on a Jetson, the hottest of all its zones
MIN_CELSIUS = -50.0  # °C; the kernel gives less for a zone that is switched off
READ_INTERVAL = 0.1  # seconds; reading a rail takes about a millisecond on the I2C bus


@dataclass(frozen=True)
class Reading:
    """Watts by rail, and °C by thermal zone, at one moment."""

    watts: Mapping[str, float]
    celsius: Mapping[str, float]

    @property
    def input(self) -> tuple[str, float] | None:
        """The rail, or sum of rails, that stands for all that is consumed, and its watts; None if unknown."""
        for name in INPUT_RAILS:
            if name in self.watts:
                return name, self.watts[name]
        for names in INPUT_PARTS:
            if set(names) <= set(self.watts):
                return " + ".join(names), sum(self.watts[name] for name in names)
        return None

    @property
    def hottest(self) -> float | None:
        """°C of the junction, else of the hottest zone; None without any."""
        return self.celsius.get(JUNCTION_ZONE, max(self.celsius.values(), default=None))


@dataclass(frozen=True)
class Power:
    """What the whole board consumed while it was measured.

    Attributes:
        source: the rail, or rails, that were measured.
        mean_watts, peak_watts: over the readings.
        joules: for one picture.
    """

    source: str
    mean_watts: float
    peak_watts: float
    joules: float


def read_sensors(root: Path = ROOT) -> Reading:
    """Read every rail and thermal zone that the kernel shows; empty on a machine with none."""
    watts: dict[str, float] = {}
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        chip = _text(folder / "name")
        if chip == "ina3221":
            watts.update(_ina3221(folder))
        elif chip == "ina238":
            watts.update(_ina238(folder))
    celsius: dict[str, float] = {}
    for folder in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        degrees = _number(folder / "temp", unit=1e-3)
        if degrees is not None and degrees > MIN_CELSIUS:
            celsius[_text(folder / "type") or folder.name] = degrees
    return Reading(watts, celsius)


class Meter:
    """Reads sensors in a thread while its `with` block runs; several blocks add up.

    Args:
        read: reads the sensors once.
        interval: seconds between two readings.

    Attributes:
        readings: all so far.
    """

    def __init__(self, read: Callable[[], Reading] = read_sensors, interval: float = READ_INTERVAL) -> None:
        self._read, self._interval = read, interval
        self._done = threading.Event()
        self._thread: threading.Thread | None = None
        self.readings: list[Reading] = []

    def __enter__(self) -> Meter:
        self.readings.append(self._read())
        if self.readings[-1] != Reading({}, {}):  # without sensors there is nothing to wait for
            self._done.clear()
            self._thread = threading.Thread(target=self._go, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread:
            self._done.set()
            self._thread.join()
            self._thread = None

    def power(self, pictures_per_second: float) -> Power | None:
        """Power and energy at that throughput; None where no reading tells what the board consumes."""
        known = [reading.input for reading in self.readings]
        found = [pair for pair in known if pair]
        if not found:
            return None
        watts = [value for _, value in found]
        mean = sum(watts) / len(watts)
        return Power(found[0][0], mean, max(watts), mean / pictures_per_second)

    @property
    def celsius(self) -> float | None:
        """The highest temperature of all readings; None without thermal zones."""
        return max((r.hottest for r in self.readings if r.hottest is not None), default=None)

    def _go(self) -> None:
        while not self._done.wait(self._interval):
            self.readings.append(self._read())


def _ina3221(folder: Path) -> dict[str, float]:
    """Watts of each connected channel; the fourth current is a sum, and inputs above 3 are shunt voltages."""
    rails = {}
    for channel in (1, 2, 3):
        name = _text(folder / f"in{channel}_label")
        volts = _number(folder / f"in{channel}_input", unit=1e-3)
        amperes = _number(folder / f"curr{channel}_input", unit=1e-3)
        if name not in ("", "NC") and volts is not None and amperes is not None:
            rails[name] = volts * amperes
    return rails


def _ina238(folder: Path) -> dict[str, float]:
    """Watts of its one channel, which is the input where the device tree gives no other label."""
    watts = _number(folder / "power1_input", unit=1e-6)
    return {} if watts is None else {_text(folder / "label") or INPUT_RAILS[0]: watts}


def _number(path: Path, unit: float) -> float | None:
    text = _text(path)
    return int(text) * unit if re.fullmatch(r"-?\d+", text) else None


def _text(path: Path) -> str:
    """Text of a sensor's file; empty where it is absent, switched off, or not ready."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
