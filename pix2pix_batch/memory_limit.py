"""How much memory the user's limits let each process have: its address space, ``ulimit -v``."""

from __future__ import annotations

import resource


def address_space() -> int | None:
    """Bytes; ``None`` where nothing limits it."""
    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def describe() -> str:
    """To be added, in brackets, where memory may be what is lacking; empty without a limit."""
    allowed = address_space()
    return "" if allowed is None else f" (ulimit -v gives each process {allowed >> 20:,} MiB)"


def explain_too_large() -> str:
    """Why an image failed with ``MemoryError``."""
    return f"too large for this machine's memory{describe()}"
