"""What the control groups of Linux allow this process: containers, batch systems, systemd.

A limit may be set on the process's own group or on any above it, in either version; the smallest
counts. https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html have the files.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path


def cpu_quota(root: Path = Path("/")) -> float | None:
    """Cores' worth of time that the groups allow; ``None`` where that is not limited."""
    found = []
    for group in _groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (group / "cpu.max").read_text().split()
            found.append(int(quota) / int(period))
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            if (quota_us := _number(group / "cpu.cfs_quota_us")) > 0:
                found.append(quota_us / _number(group / "cpu.cfs_period_us"))
    return min(found, default=None)


def free_memory(root: Path = Path("/")) -> int | None:
    """Bytes that the groups still allow to be allocated; ``None`` where that is not limited.

    Cached files that were not used of late count as free: the kernel drops them first.
    """
    found = []
    for group in _groups(root, "memory"):
        for limit, usage, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with contextlib.suppress(OSError, ValueError):  # "max": none
                left = _number(group / limit) - _number(group / usage)
                found.append(max(0, left + _statistic(group / "memory.stat", cached)))
    return min(found, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's groups under ``controller`` and all above them, as far as they are seen.

    A container often sees its own group as the topmost one, while the process's path is the
    host's: what is not there is left out.
    """
    mounts = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0":
            tops = [mounts, mounts / "unified"]  # the latter where both versions are in use
        elif controller in controllers.split(","):
            tops = [mounts / controllers, mounts / controller]
        else:
            continue
        for top in tops:
            own = top / path.lstrip("/")
            for group in (own, *own.parents):
                if group.is_dir():
                    yield group
                if group == top:
                    break


def _number(path: Path) -> int:
    return int(path.read_text())


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(OSError, ValueError):
        for line in path.read_text().splitlines():
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
