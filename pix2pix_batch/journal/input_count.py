"""How many inputs a job has, by the counts in its journals."""

from __future__ import annotations

from pix2pix_batch.errors import InputError
from pix2pix_batch.journal.events import Begun, Counted
from pix2pix_batch.journal.shard import Shard

WHOLE = Shard(1, 1)
"""As which a run without ``--shard`` counts."""


class InputCount:
    """A count replaces all earlier ones but those of the other shards of the same number."""

    def __init__(self) -> None:
        self._totals: dict[Shard, int | None] = {}

    def note(self, event: Begun | Counted) -> None:
        """Heed an event of the journals, each after those before it."""
        try:
            shard = Shard.parse(event.shard) if event.shard else WHOLE
        except InputError:  # somebody's own line
            return
        if isinstance(event, Begun) and shard == WHOLE:  # its count follows; until then, the last
            return
        self._totals = {one: self._totals[one] for one in self._totals if one.count == shard.count}
        if isinstance(event, Counted):
            self._totals[shard] = event.total

    def of(self, shard: Shard | None) -> int | None:
        """The inputs of that part, or of the whole, where its own count is the last."""
        return self._totals.get(shard or WHOLE)

    @property
    def total(self) -> int | None:
        """Inputs in all; ``None`` until a whole run, or each shard, has counted its own."""
        shards = list(self._totals)
        known = [total for total in self._totals.values() if total is not None]
        is_known = bool(shards) and len(known) == shards[0].count
        return sum(known) if is_known else None
