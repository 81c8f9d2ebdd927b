"""Instructions of the processor, as the kernel reports them."""

from __future__ import annotations

from pathlib import Path

VNNI = {"avx512_vnni", "avx_vnni"}


def has_vnni(root: Path = Path("/")) -> bool:
    """Whether this is an x86 processor with VNNI instructions; false where the kernel does not tell.

    Args:
        root: where the file system starts.
    """
    try:
        with (root / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            flags = next((line for line in lines if line.startswith("flags")), "")
    except OSError:
        return False
    return not VNNI.isdisjoint(flags.split())
