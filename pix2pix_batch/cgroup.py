"""What the control groups of Linux allow this process: containers, batch systems, systemd.

A limit may be set on the process's own group or on any above it, in either version; the smallest
counts. https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html have the files.
"""

from __future__ import annotations

import contextlib
import re
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

    Cached files that were not used of late count as free: the kernel drops them first. What is
    above ``memory.high`` is not refused, but so slow that it is no memory to plan with.
    """
    found = []
    for group in _groups(root, "memory"):
        for limit, usage, cached in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.high", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            with contextlib.suppress(OSError, ValueError):  # "max": none
                allowed = _number(group / limit)
                if limit == "memory.limit_in_bytes":  # or one of a group that is not seen
                    above = _statistic(group / "memory.stat", "hierarchical_memory_limit")
                    allowed = min(allowed, above or allowed)
                left = allowed - _number(group / usage)
                if allowed < NONE:
                    found.append(max(0, left + _statistic(group / "memory.stat", cached)))
    return min(found, default=None)


NONE = 1 << 60
"""Bytes from which on a limit is none: version 1 writes the largest number of pages for that."""


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """This process's groups under ``controller`` and all above them, as far as they are seen.

    A container often sees its own group as the topmost one, while the process's path is the
    host's: what is not there is left out.
    """
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number != "0" and controller not in controllers.split(","):
            continue
        for top, above in _find_mounts(root, None if number == "0" else controller):
            within = path.removeprefix(above) if f"{path}/".startswith(f"{above}/") else path
            own = top / within.lstrip("/")
            for group in (own, *own.parents):
                if ".." not in group.parts and group.is_dir():
                    yield group
                if group == top:
                    break


def _find_mounts(root: Path, controller: str | None) -> list[tuple[Path, str]]:
    """Where groups under ``controller`` are seen, of version 2 for ``None``; and the path of the
    topmost that is seen there, empty for all. Where that is not told, the usual places."""
    found = []
    for line in _lines(root / "proc/self/mountinfo"):  # proc_pid_mountinfo(5)
        told, _, kind = line.partition(" - ")
        above, place = (_unescape(word) for word in [*told.split(), *[""] * 5][3:5])
        version, _, options = [*kind.split(), "", "", ""][:3]
        is_wanted = version == "cgroup" and controller in options.split(",")
        if version == "cgroup2" if controller is None else is_wanted:
            found.append((root / place.lstrip("/"), above.rstrip("/")))
    if found:
        return found
    mounts = root / "sys/fs/cgroup"
    if controller is None:
        return [(mounts, ""), (mounts / "unified", "")]  # the latter where both are in use
    tops = mounts.glob(f"*{controller}*")
    return [(top, "") for top in tops if controller in top.name.split(",")]


def _unescape(word: str) -> str:
    """A path as the kernel writes it, with blanks and the like in octal."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), word)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []


def _number(path: Path) -> int:
    return int(path.read_text())


def _statistic(path: Path, name: str) -> int:
    with contextlib.suppress(ValueError):
        for line in _lines(path):
            if line.startswith(f"{name} "):
                return int(line.split()[1])
    return 0
