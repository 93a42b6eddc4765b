"""What the kernel of the machine at hand does by itself, which no bound of a test may forget."""

from __future__ import annotations

from pathlib import Path


def kernel_holds() -> int:
    """Bytes one connection's two socket buffers hold at most (Linux tunes them up to the last of three numbers)."""
    limits = (Path(f"/proc/sys/net/ipv4/tcp_{side}mem").read_text("ascii").split()[-1] for side in "rw")
    return sum(map(int, limits))
