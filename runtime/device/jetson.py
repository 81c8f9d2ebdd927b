"""A Jetson's system, power mode and clocks, read from files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
RELEASE = "etc/nv_tegra_release"


@dataclass(frozen=True)
class PowerMode:
    """One of the power modes of the board, as `nvpmodel` names it."""

    index: int
    name: str


@dataclass(frozen=True)
class Clock:
    """A clock in Hz: as it is now, and the range in which it may move."""

    name: str
    now: int
    least: int
    most: int

    @property
    def fixed(self) -> bool:
        """Whether it cannot move, as after `jetson_clocks`."""
        return self.least == self.most


def is_jetson(root: Path = ROOT) -> bool:
    """Whether this is a Jetson, or a container on one."""
    return (root / RELEASE).exists() or "nvidia,tegra" in _read(root / "proc/device-tree/compatible")


def board(root: Path = ROOT) -> str:
    """The board's name, such as `NVIDIA Jetson Orin Nano Developer Kit`; empty where there is none."""
    return _read(root / "proc/device-tree/model").strip("\0 \n")


def l4t_version(root: Path = ROOT) -> str:
    """Version of Jetson Linux, such as 36.4.0; empty elsewhere."""
    found = re.search(r"R(\d+).*?REVISION:\s*([\d.]+)", _read(root / RELEASE))
    return f"{found[1]}.{found[2]}" if found else ""


def jetpack_version(root: Path = ROOT) -> str:
    """Version of JetPack, such as 6.2; `Jetson Linux ...` where only that is installed; empty elsewhere."""
    version = package_version("nvidia-jetpack", root).partition("+")[0]
    l4t = l4t_version(root)
    return version or (f"Jetson Linux {l4t}" if l4t else "")


def package_version(package: str, root: Path = ROOT) -> str:
    """Version of an installed Debian package; empty where it is not installed."""
    for paragraph in _read(root / "var/lib/dpkg/status").split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Package") == package and fields.get("Status", "").endswith(" installed"):
            return fields.get("Version", "")
    return ""


def power_mode(root: Path = ROOT) -> PowerMode | None:
    """The power mode in force; None where the board has none."""
    current = re.search(r"pmode:(\d+)", _read(root / "var/lib/nvpmodel/status"))
    if not current:
        return None
    index = int(current[1])
    names = {int(i): name for i, name in _power_models(root)}
    return PowerMode(index, names.get(index, "unnamed"))


def fastest_mode(root: Path = ROOT) -> PowerMode | None:
    """The power mode that sets no limit of power: MAXN_SUPER, or MAXN; None where none has such a name."""
    modes = {name: PowerMode(int(i), name) for i, name in _power_models(root)}
    return modes.get("MAXN_SUPER") or modes.get("MAXN")


def clocks(root: Path = ROOT) -> list[Clock]:
    """Clocks of the GPU, and of each group of CPU cores, as far as the kernel shows them."""
    return list(_clocks(root))


def clock_state(root: Path = ROOT) -> str:
    """`pinned` where every clock is fixed, `moving` where one is not; empty where the kernel shows none."""
    found = clocks(root)
    return "" if not found else "pinned" if all(clock.fixed for clock in found) else "moving"


def dla_cores(root: Path = ROOT) -> int:
    """Number of deep learning accelerators that the kernel drives: 0 on Orin Nano, on Thor and elsewhere."""
    return len(_folders(root / "sys/bus/platform/devices", "*.nvdla*")) if is_jetson(root) else 0


def _clocks(root: Path) -> Iterator[Clock]:
    for folder in _folders(root / "sys/class/devfreq", "*"):
        if re.search(r"gpu|g[vap]\d+b", folder.name):
            yield from _clock("GPU", folder, "cur_freq", "min_freq", "max_freq", unit=1)
    for folder in _folders(root / "sys/devices/system/cpu/cpufreq", "policy*"):
        name = f"CPU {_read(folder / 'related_cpus').strip() or folder.name}"
        yield from _clock(name, folder, "scaling_cur_freq", "scaling_min_freq", "scaling_max_freq", unit=1000)


def _clock(name: str, folder: Path, now: str, least: str, most: str, unit: int) -> Iterator[Clock]:
    texts = [_read(folder / file).strip() for file in (now, least, most)]
    if all(text.isdigit() for text in texts):
        yield Clock(name, *(unit * int(text) for text in texts))


def _power_models(root: Path) -> list[tuple[str, str]]:
    return re.findall(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>", _read(root / "etc/nvpmodel.conf"))


def _folders(parent: Path, pattern: str) -> list[Path]:
    return sorted(parent.glob(pattern)) if parent.is_dir() else []


def _read(path: Path) -> str:
    """Text of a file; empty where it is absent or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
