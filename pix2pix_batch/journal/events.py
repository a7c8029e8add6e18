"""The kinds of lines in a journal, one class for each, and how they are written and recognised.
``docs/journal.md`` describes them. Anybody may have edited a journal: a line of no known kind is
ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeAlias, TypeGuard

from pix2pix_batch.journal.record import (
    COPY,
    FAILED,
    FOUND_WRONG,
    QUARANTINED,
    Record,
    parse_line,
    to_line,
)

SYNTHESIZE = "synthesize"
"""The ``kind`` of a job that makes a dataset; one of ``convert`` has none."""

REPLACES = "replaces"
"""Set in a job's line while its journal replaces others, which then no longer count even if a crash
has left them."""


@dataclass(slots=True)
class Header:
    """The first line, which describes the job: what decides the outputs' bytes, and what was chosen
    when the job began."""

    values: dict[str, Any]

    @property
    def kind(self) -> str | None:
        return self.values.get("kind")

    @property
    def is_dataset(self) -> bool:
        """Whether ``synthesize`` made it: the inputs' names then end in their variant."""
        return self.kind == SYNTHESIZE

    @property
    def overwriting(self) -> int:
        """Which overwriting the journal is of, from 1; 0 where it was begun without."""
        number = self.values.get("overwrite")
        return int(number) if isinstance(number, int) else 0

    @property
    def replaces(self) -> bool:
        return bool(self.values.get(REPLACES))


@dataclass(slots=True)
class Claimed:
    """The outputs of the inputs of these ``names`` are about to be written."""

    names: list[str]

    def line(self) -> bytes:
        return to_line({"claim": self.names})


@dataclass(slots=True)
class Recorded:
    """The result of the input ``name``; ``values``: the fields of the :class:`Record` that are not
    empty."""

    name: str
    status: str
    values: dict[str, Any]

    @property
    def is_found_wrong(self) -> bool:
        """Whether a check has journaled it, and no run."""
        return self.status == FAILED and self.get("reason").startswith(FOUND_WRONG)

    @property
    def is_refused(self) -> bool:
        """Whether a run has journaled that it did not convert the input. What is done may also be
        journaled by a check, again."""
        return self.status in (FAILED, QUARANTINED) and not self.is_found_wrong

    @property
    def is_copy(self) -> bool:
        """Of a dataset: of an input's copy, which is no image of it."""
        return self.name.endswith(COPY)

    @property
    def is_tar(self) -> bool:
        """Of a tar that was made, whose images have records of their own."""
        return "members" in self.values

    def get(self, name: str) -> str:
        """A text of the record; empty where it has none."""
        value = self.values.get(name)
        return value if isinstance(value, str) else ""

    def record(self) -> Record:
        return Record(**{key: self.values[key] for key in _RECORDED & self.values.keys()})


_RECORDED = {one.name for one in fields(Record)}


@dataclass(slots=True)
class Returned:
    """The records since the last such line came back at this time (Unix), after ``seconds`` of work
    on ``worker``; there is no worker if the inputs were never sent to one."""

    at: float
    seconds: float = 0.0
    worker: str = ""

    def line(self) -> bytes:
        return to_line({"at": self.at, "seconds": self.seconds, "worker": self.worker})


@dataclass(slots=True)
class Begun:
    """A run of the job, or of its part ``shard``, sends its first chunk."""

    at: float
    workers: int | None = None
    shard: str = ""

    def line(self) -> bytes:
        workers = {} if self.workers is None else {"workers": self.workers}
        return to_line({"begin": self.at, **workers, **_shard(self.shard)})


@dataclass(slots=True)
class Counted:
    """A run has counted its inputs. ``gone``: those recorded that are no longer there, and
    ``back``: those that are there again, both since the counts before it; ``gone`` is ``None`` if
    the run has not looked at all inputs. Earlier versions wrote how many are gone, by status."""

    total: int | None
    gone: list[str] | dict[str, int] | None = None
    shard: str = ""
    back: list[str] = field(default_factory=list)

    def line(self) -> bytes:
        gone = {} if self.gone is None else {"gone": self.gone}
        back = {"back": self.back} if self.back else {}
        return to_line({"total": self.total, **gone, **back, **_shard(self.shard)})


@dataclass(slots=True)
class Ended:
    """A run ended. ``counts``: the results of its inputs, by the summary's names."""

    FINISHED: ClassVar = "finished"

    at: float
    outcome: str = ""
    counts: dict[str, Any] = field(default_factory=dict)
    shard: str = ""

    def line(self) -> bytes:
        return to_line(
            {"end": self.at, "outcome": self.outcome, **self.counts, **_shard(self.shard)}
        )


Event: TypeAlias = Header | Claimed | Recorded | Returned | Begun | Counted | Ended


def _shard(shard: str) -> dict[str, str]:
    return {"shard": shard} if shard else {}


def parse_event(line: bytes) -> Event | None:
    """The event in a journal's line; ``None`` if the line is incomplete or of no known kind."""
    values = parse_line(line)
    return None if values is None else event_of(values)


def event_of(values: dict[str, Any]) -> Event | None:
    """As :func:`parse_event`, from a line's values."""
    if "name" in values:
        name, status = values["name"], values.get("status")
        if isinstance(name, str) and isinstance(status, str):
            return Recorded(name, status, values)
        return None
    if "claim" in values:
        names = values["claim"]
        return Claimed(names) if _are_names(names) else None
    if "schema" in values:
        return Header(values)
    shard = str(values.get("shard", ""))
    if _is_number(at := values.get("at")):
        seconds = values.get("seconds")
        worker = str(values.get("worker", ""))
        return Returned(at, seconds if _is_number(seconds) else 0.0, worker)
    if _is_number(at := values.get("begin")):
        workers = values.get("workers")
        return Begun(at, workers if isinstance(workers, int) else None, shard)
    if _is_number(at := values.get("end")):
        no_counts = ("end", "outcome", "shard")
        counts = {key: value for key, value in values.items() if key not in no_counts}
        return Ended(at, str(values.get("outcome", "")), counts, shard)
    if "total" in values:
        total, gone, back = values["total"], values.get("gone"), values.get("back")
        total = total if isinstance(total, int) else None
        gone = gone if isinstance(gone, dict) or _are_names(gone) else None
        return Counted(total, gone, shard, back if _are_names(back) else [])
    return None


def _are_names(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and set(map(type, value)) <= {str}


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float)
