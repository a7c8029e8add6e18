"""How many cores there are to use."""

from __future__ import annotations

import math
import os

from pix2pix_batch import cgroup


def cores() -> int:
    """The cores that this process may use: of its affinity, not the machine's count, and no more
    than a container's quota of CPU time keeps busy."""
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    quota = cgroup.cpu_quota()
    return count if quota is None else max(1, min(count, math.ceil(quota)))
