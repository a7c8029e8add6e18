"""What an OUT's journals say in the end, counted in one pass whatever their length."""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from typing import Any

import numpy as np

from pix2pix_batch.journal.events import (
    Begun,
    Claimed,
    Counted,
    Ended,
    Event,
    Header,
    Recorded,
    Returned,
)
from pix2pix_batch.journal.record import COPY, DONE, GONE
from pix2pix_batch.journal.shard import hash_name
from pix2pix_batch.reporting.throughput import Throughput

SAMPLES, DOUBTFUL, EXAMPLES = 48, 24, 20
"""Kept of the images converted, of the doubtful ones, and of each group of failures."""

DOUBT = 99.0
"""From this percentile of the training inputs on, a distance is doubtful."""

GROUPS = 100
"""Reasons told apart; what fails for others is counted together."""

PARTS = 16
"""In which the names are sorted: a power of two."""


OTHER = "other reasons"

MARGIN = 4
"""Candidates held for each one kept, for those that a later line makes void."""

QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
NUMBER = re.compile(r"\d[\d,.]*(?<=\d)")
LONGEST = 200
"""Characters of a reason that tell it from others."""

Values = dict[str, Any]
"""What a journal's line holds."""

BEYOND = 100
"""From here on a distance is no percentile: the image is further than all training inputs."""

# A line's code, two bytes. Done: this, or one more than the whole percentile, 0 to BEYOND.
WITHOUT_DISTANCE = 0
NO_IMAGE = 102  # a tar, whose images have lines of their own, or what is gone
FIRST_GROUP = 103  # of failures, by the number of their group from here on
FLAGGED = 1 << 12  # besides: done, and something is odd about the output
WARNED = 1 << 13  # or about the input
UNMEASURED = 1 << 14  # too small for its distance to be told
RETRIED = 1 << 15  # failed for a reason that does not lie in the input


class SmallestKeys:
    """The values of the least keys, one a name: the last that was offered."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.kept: dict[int, tuple[Any, Values]] = {}
        self.bound: Any = None

    def get(self, name: int, default: Values) -> Values:
        """What is kept of that name."""
        return self.kept[name][1] if name in self.kept else default

    def offer(self, key: Any, name: int, values: Values) -> None:
        """``name``: its digest, which ends ``key`` so that no two are the same."""
        if name not in self.kept and self.bound is not None and key > self.bound:
            return
        self.kept[name] = (key, values)
        if len(self.kept) > 2 * MARGIN * self.count:
            least = sorted(self.kept.items(), key=lambda one: one[1][0])[: MARGIN * self.count]
            self.kept = dict(least)
            self.bound = least[-1][1][0]

    def __iter__(self) -> Iterator[tuple[int, Values]]:
        for name, (_, values) in sorted(self.kept.items(), key=lambda one: one[1][0]):
            yield name, values


@dataclass
class Group:
    """Inputs that were not converted for one reason. ``status``: such as ``failed``.

    ``count``: of a dataset, the images that were not made; its ``examples`` are inputs, each with
    ``variants``, how many of its images were not.
    """

    status: str
    reason: str
    count: int = 0
    examples: list[Values] = field(default_factory=list)

    @property
    def said(self) -> str:
        """The reason as all of them have it, where all are known and have the same."""
        own = {str(values.get("reason", "")) for values in self.examples}
        known = sum(values.get("variants", 1) for values in self.examples)
        return own.pop() if len(own) == 1 and known == self.count else self.reason


# The figures of a report, gathered in one pass over a journal that may be large.
class Statistics:
    """Counts and examples of all the inputs by what became of each at last.

    An input that has several lines counts by the last. Which images are samples depends on their
    names alone, not on the order in which they came back. Images of a tar count as long as the tar
    does that they were made of last. Memory: ten bytes a line, eight more for a tar's image, and as
    much again to count them.
    """

    def __init__(self, events: Iterable[Event]) -> None:
        """``events``: those of all journals, one journal after the other. What the last counts of
        the inputs did not find is left out."""
        self.job: Values = {}
        self.is_dataset = False
        self.pace = Throughput()
        self.outcomes: list[str] = []  # of each journal's last run
        self._workers: list[int] = []  # of each journal's largest run
        self._names, self._codes = array("Q"), array("H")
        self._members: dict[str, array[int]] = {}  # of each tar, when it was made last
        self._undone: set[str] = set()  # tars that were made before, and have failed since
        self._gone_names, self._gone_codes = array("Q"), array("H")
        self._gone_here: set[int] = set()  # of the journal that is being read
        self._claimed: set[str] = set()
        listed: list[tuple[str, int]] = []  # the names that have come back together, and digests
        self._groups: dict[tuple[str, str], int] = {}
        self._examples: list[SmallestKeys] = []
        self._samples, self._doubtful, self._odd = (
            SmallestKeys(SAMPLES),
            SmallestKeys(DOUBTFUL),
            SmallestKeys(DOUBTFUL),
        )
        self._warned = SmallestKeys(DOUBTFUL)
        fresh = 0
        for event in events:
            if isinstance(event, Recorded):
                if self._is_copy(event.name):
                    continue
                listed.append((event.name, self._note(event)))
                if event.is_tar or event.name in self._members:
                    self._note_tar(event, listed)
                fresh += not event.is_tar  # whose images have come
            elif isinstance(event, Claimed):
                self._claimed.update(event.names)
                self._note_found(event.names)
            elif isinstance(event, Counted):
                if isinstance(event.gone, list):
                    self._note_presence(event.gone, event.back)
            elif isinstance(event, Returned):
                if event.worker:
                    self.pace.add(event.at, event.seconds, fresh)
                fresh = 0
                listed.clear()
            elif isinstance(event, Header):
                self._gone_here.clear()
                self.job = self.job or event.values
                self.is_dataset = self.is_dataset or event.is_dataset
                self.outcomes.append("")
                self._workers.append(0)
                fresh = 0
            elif isinstance(event, Begun):
                self.pace.begin(event.at)
                self.outcomes[-1:] = ["begun"]
                self._workers[-1:] = [max(event.workers or 0, *self._workers[-1:])]
            elif isinstance(event, Ended):
                self.outcomes[-1:] = [event.outcome]
        self._count()

    @property
    def workers(self) -> int:
        """How many there were when a run began; of shards, together."""
        return sum(self._workers)

    def _note(self, event: Recorded) -> int:
        """The digest of its name."""
        name = hash_name(event.name)
        self._claimed.discard(event.name)
        if event.is_refused:
            self._note_found([event.name])
        self._names.append(name)
        if event.status == GONE:
            self._codes.append(NO_IMAGE)
        elif event.status == DONE:
            self._codes.append(NO_IMAGE if event.is_tar else self._image(event.values, name))
        else:
            retried = 0 if event.values.get("stamp") else RETRIED
            self._codes.append(self._failure(event, name) | retried)
        return name

    def _note_tar(self, event: Recorded, listed: list[tuple[str, int]]) -> None:
        """A tar's record, which follows those of its images."""
        if not event.is_tar:
            self._undone.add(event.name)
            return
        self._undone.discard(event.name)
        now = array("Q", (digest for name, digest in listed if name.startswith(f"{event.name}/")))
        listed.clear()
        # As a check of the output restores it, the record comes without those of its images.
        if not now and event.values["members"]:
            return
        past = set(self._members.get(event.name, ())).difference(now)
        self._names.extend(past)
        self._codes.extend([NO_IMAGE] * len(past))
        self._members[event.name] = now

    def _is_copy(self, name: str) -> bool:
        return self.is_dataset and name.endswith(COPY)

    def _note_found(self, names: list[str]) -> None:
        """By a run, which need not have counted all inputs."""
        if self._gone_here:
            self._note_presence([], [name for name in names if hash_name(name) in self._gone_here])

    def _note_presence(self, gone: list[str], back: list[str]) -> None:
        self._gone_here.update(map(hash_name, gone))
        self._gone_here.difference_update(map(hash_name, back))
        self._gone_names.extend(map(hash_name, chain(gone, back)))
        self._gone_codes.extend(chain(repeat(1, len(gone)), repeat(0, len(back))))

    def _find_void(self) -> np.ndarray:
        """The digests of inputs that are gone, and of images of tars that are gone or not done;
        counts the other tars."""
        names, codes = _last_codes(
            np.frombuffer(self._gone_names, np.uint64), np.frombuffer(self._gone_codes, np.uint16)
        )
        gone = names[codes == 1]
        tars = np.array([hash_name(tar) for tar in self._members], np.uint64)
        lost = [
            np.frombuffer(self._members[tar], np.uint64)
            for tar, is_gone in zip(self._members, np.isin(tars, gone).tolist(), strict=True)
            if is_gone or tar in self._undone
        ]
        self.tars = len(tars) - len(lost)
        self.has_tars = not np.isin(tars, gone).all()
        return np.concatenate([gone, *lost])

    def _image(self, values: Values, name: int) -> int:
        """The code of an image that was converted."""
        code, distance = WITHOUT_DISTANCE, values.get("distance")
        if isinstance(distance, int | float) and math.isfinite(distance):
            code = 1 + int(min(max(distance, 0), BEYOND))
            if distance >= DOUBT:
                self._doubtful.offer((-distance, name), name, values)
        self._samples.offer(name, name, values)
        if values.get("flags"):
            self._odd.offer(name, name, values)
            code |= FLAGGED
        if values.get("warning"):
            self._warned.offer(name, name, values)
            code |= WARNED
        if values.get("unmeasured"):
            code |= UNMEASURED
        return code

    def _failure(self, event: Recorded, name: int) -> int:
        """The code of a failure's group."""
        values, kind = event.values, (event.status, _generalise(event.get("reason")))
        if kind not in self._groups and len(self._groups) >= GROUPS:
            kind = event.status, OTHER
        if kind not in self._groups:
            self._groups[kind] = len(self._groups)
            self._examples.append(SmallestKeys(EXAMPLES))
        group = self._groups[kind]
        examples, place = self._examples[group], name
        if self.is_dataset:  # an input that fails does so once for each variant
            source = event.name.rpartition("/")[0]
            place = hash_name(source)
            images = examples.get(place, {}).get("images", set())
            values = {**values, "name": source, "images": images | {name}}
        examples.offer(place, place, values)
        return FIRST_GROUP + group

    def _failed_examples(self, number: int, code: Callable[[int], int]) -> Iterator[Values]:
        """The examples of a group that are of it still."""
        for name, values in self._examples[number]:
            images = values.get("images", [name])
            if still := sum(code(image) == FIRST_GROUP + number for image in images):
                yield {**values, "variants": still} if self.is_dataset else values

    def _count(self) -> None:
        """What became of each input at last, by the last code of each name."""
        final, codes = _last_codes(
            np.frombuffer(self._names, np.uint64), np.frombuffer(self._codes, np.uint16)
        )
        codes[np.isin(final, self._find_void())] = NO_IMAGE
        claimed = [hash_name(name) for name in self._claimed if not self._is_copy(name)]
        self.unfinished = len(claimed) - int(np.isin(final, np.array(claimed, np.uint64)).sum())
        self.retriable = int((codes & RETRIED != 0).sum())
        odd, warned = codes & FLAGGED != 0, codes & WARNED != 0
        self.unmeasured = int((codes & UNMEASURED != 0).sum())
        codes = codes & ~np.uint16(FLAGGED | WARNED | UNMEASURED | RETRIED)
        counts = np.bincount(codes, minlength=FIRST_GROUP + len(self._groups))

        def place(name: int) -> int:
            return int(np.searchsorted(final, np.uint64(name)))

        def code(name: int) -> int:
            return int(codes[place(name)])

        done = int(counts[:NO_IMAGE].sum())
        self.counts = Counter({"done": done})
        self.distances: list[int] = counts[1:NO_IMAGE].tolist()
        self.flagged, self.warned = int(odd.sum()), int(warned.sum())
        self.samples = _smallest(self._samples, SAMPLES, lambda name: code(name) < NO_IMAGE)
        self.doubtful = _smallest(
            self._doubtful, DOUBTFUL, lambda name: DOUBT < code(name) < NO_IMAGE
        )
        self.odd = _smallest(self._odd, DOUBTFUL, lambda name: bool(odd[place(name)]))
        self.warnings = _smallest(self._warned, DOUBTFUL, lambda name: bool(warned[place(name)]))
        self.groups: list[Group] = []
        for (status, general), number in self._groups.items():
            group = Group(status, general, int(counts[FIRST_GROUP + number]))
            self.counts[status] += group.count
            if group.count:
                group.examples = list(islice(self._failed_examples(number, code), EXAMPLES))
                self.groups.append(group)
        self.groups.sort(key=lambda group: (-group.count, group.status, group.reason))

    @property
    def doubts(self) -> int:
        """Images whose distance is doubtful."""
        return sum(self.distances[int(DOUBT) :])

    @property
    def measured(self) -> int:
        """Images that have a distance."""
        return sum(self.distances)


def _last_codes(names: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each name once, sorted, with its last code; part by part, for sorting takes memory."""
    kept = []
    for part in range(PARTS):
        here = np.flatnonzero(names >> np.uint64(64 - PARTS.bit_length() + 1) == part)[::-1]
        found, first = np.unique(names[here], return_index=True)
        kept.append((found, codes[here[first]]))
    return np.concatenate([one for one, _ in kept]), np.concatenate([one for _, one in kept])


def _smallest(least: SmallestKeys, count: int, still: Callable[[int], bool]) -> list[Values]:
    """The least ``count`` whose last line is ``still`` of their kind."""
    return list(islice((values for name, values in least if still(name)), count))


def _generalise(reason: str) -> str:
    """A reason without what differs from image to image: numbers and what stands in quotes."""
    return NUMBER.sub("N", QUOTED.sub("'...'", reason))[:LONGEST]
