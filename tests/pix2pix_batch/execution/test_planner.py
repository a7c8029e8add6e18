"""Chunks are planned well for engines, workers and images of every kind: in simulated time."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pix2pix_batch.execution.planner import (
    CHUNK_SECONDS,
    FIRST_CHUNK,
    IN_SIGHT,
    LARGEST_CHUNK,
    OVERRUN_FACTOR,
    PADDED_BATCHES,
    ChunkPlanner,
)

BESIDE = 0.01
"""Seconds that a chunk costs beside its work: Dask, files, the first decoding, the last writing."""


@dataclass
class Run:
    """What became of a job, chunk by chunk as they were sent, but for ``items``, which are in the
    order that they came back in.

    ``sizes``: of the chunks as they were sent; ``taken``: of them, items that were converted;
    ``work``: seconds in which the engine computed images, and nothing else; ``by``: which worker.
    """

    sizes: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    begins: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)
    by: list[int] = field(default_factory=list)
    items: list[int] = field(default_factory=list)

    def share(self, workers: int, begin: float, end: float) -> float:
        """Of the workers' time from ``begin`` to ``end``, the share in which engines computed."""
        used = 0.0
        for work, one_begin, one_end in zip(self.work, self.begins, self.ends, strict=True):
            inside = max(0.0, min(end, one_end) - max(begin, one_begin))
            used += work * inside / (one_end - one_begin)
        return used / workers / (end - begin)


@dataclass
class Fleet:
    """Workers, each with one engine, that take chunks as Dask hands them out: in turn, who is free
    first. ``tile``: seconds a tile takes at a time; ``pads``: an engine computes full batches."""

    workers: int
    batch: int
    tile: Callable[[float], float]
    pads: bool = False
    seed: int = 0

    def run(self, tiles: list[int]) -> Run:
        """A job of images of so many ``tiles``, sent as the dispatcher sends it."""
        planner, made = ChunkPlanner(self.batch, self.pads), Run()
        ahead: deque[int] = deque()
        scanned, now, random = 0, 0.0, Random(self.seed)
        free = [(0.0, worker) for worker in range(self.workers)]
        coming: list[tuple[float, int, list[int]]] = []  # by its end: which chunk, and its items
        while True:
            while len(coming) < self.workers * (1 + planner.chunks_to_queue(self.workers)):
                wanted = planner.look_ahead(self.workers)
                assert wanted <= max(IN_SIGHT, 2 * self.workers * self.batch)
                while scanned < len(tiles) and len(ahead) < wanted:
                    ahead.append(scanned)
                    scanned += 1
                if not ahead:
                    break
                size = planner.next_size(len(ahead), scanned == len(tiles), self.workers)
                assert 1 <= size <= len(ahead)
                chunk = [ahead.popleft() for _ in range(size)]
                begin, worker = heapq.heappop(free)
                begin = max(begin, now)
                end = self._convert(
                    made, chunk, tiles, begin, planner.chunk_time_budget(), worker, random
                )
                heapq.heappush(free, (end, worker))
                heapq.heappush(coming, (end, len(made.ends) - 1, chunk))
            if not coming:
                assert scanned == len(tiles)
                return made
            now, which, chunk = heapq.heappop(coming)
            taken = made.taken[which]
            ahead.extendleft(reversed(chunk[taken:]))
            made.items += chunk[:taken]
            seconds = made.ends[which] - made.begins[which] - BESIDE
            full = sum(tiles[index] for index in chunk[:taken])
            planner.learn(taken, full, seconds, cut=taken < len(chunk))

    def _convert(
        self, made: Run, chunk: list[int], tiles: list[int], begin: float, time_budget: float,
        worker: int, random: Random,
    ) -> float:  # fmt: skip
        """When the worker is done with it. As it is with the real one, images are taken until
        they fill a batch, and none once it has taken long."""
        at, taken, work, full = begin, 0, 0.0, 0
        for index in chunk:
            if full >= self.batch and at - begin > time_budget:
                break
            taken += 1
            full += tiles[index]
            took = tiles[index] * self.tile(at) * random.uniform(0.7, 1.3)
            at, work = at + took, work + took
        if self.pads and full % self.batch:
            at += (self.batch - full % self.batch) * self.tile(at)
        made.sizes.append(len(chunk))
        made.taken.append(taken)
        made.begins.append(begin)
        made.ends.append(at + BESIDE)
        made.work.append(work)
        made.by.append(worker)
        return at + BESIDE


def speeds(least: float = 0.001) -> st.SearchStrategy[float]:
    """Seconds a batch: from a hundredth to hundreds of times what it takes on a usual machine."""
    return st.floats(math.log(least), math.log(60)).map(math.exp)


def drifting(batch_seconds: float, batch: int, drift: float) -> Callable[[float], float]:
    """Ever slower and faster, up to ``drift`` times: in waves of a minute or of 20 batches,
    whatever is longer."""
    period = max(60.0, 20 * batch_seconds)
    return lambda now: batch_seconds / batch * drift ** math.sin(2 * math.pi * now / period)


def images(count: int, most: int, random: Random) -> list[int]:
    """Of how many tiles each of them is."""
    return [random.choice([1, 1, most // 4 or 1, most]) for _ in range(count)]


@pytest.mark.parametrize("pads", [False, True])
@given(
    batch_seconds=speeds(),
    batch=st.sampled_from([1, 2, 4, 8, 32]),
    workers=st.sampled_from([1, 2, 3, 8, 32, 64]),
    drift=st.floats(1, 3),
    most=st.sampled_from([1, 1, 4, 16]),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=30)
def test_the_engines_are_busy_from_the_first_second_to_the_last(
    pads: bool, batch_seconds: float, batch: int, workers: int, drift: float, most: int, seed: int
) -> None:
    random = Random(seed)
    batches = max(40, min(400, int(40 / batch_seconds)))  # of each worker: 40 seconds, or more
    tiles = images(min(workers * batches * batch, 20_000), most, random)
    if sum(tiles) < 40 * workers * batch:
        tiles *= 1 + 40 * workers * batch // sum(tiles)
    fleet = Fleet(workers, batch, drifting(batch_seconds, batch, drift), pads, seed)
    made = fleet.run(tiles)
    assert sorted(made.items) == list(range(len(tiles)))
    # an image is not divided, and an engine that pads computes whole batches; a chunk's own cost
    # counts where a job is over within seconds
    end = max(made.ends)
    tile = batch_seconds / batch * drift * 1.3
    grain = max(most, batch if pads else 1) * tile
    spare = (6 if pads else 2) * grain + 30 * BESIDE
    assert sum(made.work) / workers >= 0.9 * (end - spare)
    # nor less later than at first
    if end > 20 * grain + 10:
        quarters = [made.share(workers, end * i / 4, end * (i + 1) / 4) for i in range(3)]
        assert min(quarters) >= (0.8 if pads else 0.88), quarters
    # little enough to lose
    longest = max(e - b for b, e in zip(made.begins, made.ends, strict=True)) - BESIDE
    batches = PADDED_BATCHES * OVERRUN_FACTOR if pads and most > 1 else 2
    assert longest <= OVERRUN_FACTOR * CHUNK_SECONDS + batches * (batch + most) * tile


@pytest.mark.parametrize("workers", [1, 8])
@pytest.mark.parametrize("rate", [700, 5000])
@pytest.mark.parametrize("warm", [0.0, 3.0])
def test_chunks_grow_with_the_speed_of_workers_on_a_gpu(
    workers: int, rate: int, warm: float
) -> None:
    """That pass on so many images a second, once their first batches are done, which are slow:
    libraries are loaded and kernels chosen then."""
    batch = 32
    slow = warm / 2 / batch  # two batches of each worker, or three
    fleet = Fleet(workers, batch, lambda now: slow if now < warm else 1 / rate, pads=True)
    made = fleet.run([1] * (10 * rate * workers))
    assert sorted(made.items) == list(range(10 * rate * workers))
    begun = max(warm, 0.5)
    assert made.share(workers, begun + 1, max(made.ends)) >= 0.9
    largest = min(LARGEST_CHUNK, IN_SIGHT // (2 * workers))
    assert max(made.sizes) >= min(largest, rate * CHUNK_SECONDS) / 2


def planned(count: int, workers: int, planner: ChunkPlanner) -> list[int]:
    """The sizes of a job's chunks where all are sent at once."""
    sizes = []
    while count:
        sizes.append(planner.next_size(count, True, workers))
        count -= sizes[-1]
    return sizes


@pytest.mark.parametrize(
    ("count", "workers", "sizes"),
    [
        (1, 2, [1]),
        (8, 2, [4, 4]),
        (9, 2, [5, 4]),
        (8, 1, [8]),
        (5, 64, [1] * 5),
        (20, 2, [8, 8, 2, 2]),
        (64, 8, [8] * 8),
    ],
)
def test_a_small_job_is_for_all_workers(count: int, workers: int, sizes: list[int]) -> None:
    assert planned(count, workers, ChunkPlanner(8)) == sizes


@given(
    count=st.integers(1, 2000),
    workers=st.integers(1, 64),
    batch=st.integers(1, 64),
    pads=st.booleans(),
)
@settings(deadline=None)
def test_all_workers_get_something_and_none_much_more(
    count: int, workers: int, batch: int, pads: bool
) -> None:
    sizes = planned(count, workers, ChunkPlanner(batch, pads))
    assert sum(sizes) == count and min(sizes) >= 1
    assert len(sizes) >= min(count, workers)
    assert max(sizes) <= max(1, batch)
    loads = [0] * workers
    for size in sizes:
        heapq.heapreplace(loads, loads[0] + size)
    assert max(loads) - min(loads) <= max(1, batch)
    assert max(loads) <= math.ceil(count / workers) + min(FIRST_CHUNK, batch) * (1 + 8 * pads)


@given(batch_seconds=speeds(), batch=st.sampled_from([1, 3, 8, 32]), workers=st.integers(1, 64))
@settings(deadline=None)
def test_in_the_midst_of_a_job_chunks_are_whole_batches(
    batch_seconds: float, batch: int, workers: int
) -> None:
    """Also where a batch takes much longer than a chunk should, and whatever was measured."""
    planner, random = ChunkPlanner(batch), Random(0)
    size = planner.next_size(10**6, False, workers)
    for _ in range(40):
        planner.learn(size, size, size / batch * batch_seconds * random.uniform(0.5, 2))
        size = planner.next_size(10**6, False, workers)
        assert size % batch == 0
    seconds = size / batch * batch_seconds
    assert size == batch or seconds <= 2 * CHUNK_SECONDS
    most = min(LARGEST_CHUNK, IN_SIGHT // (2 * workers))
    assert seconds >= CHUNK_SECONDS / 3 or size > most - batch


def test_images_of_many_tiles_fill_batches_in_smaller_chunks() -> None:
    planner = ChunkPlanner(8)
    planner.learn(8, 800, 800.0)  # a second a tile
    assert planner.next_size(10**6, False, 2) == 1
    planner.learn(20, 80, 0.8)
    assert planner.chunk_size(2) == 1  # the larger ones may come again
    for _ in range(40):
        planner.learn(20, 80, 0.8)  # a hundredth of a second a tile
    assert 30 <= planner.chunk_size(2) <= 45


def test_an_engine_that_pads_gets_several_batches_where_images_have_tiles() -> None:
    planner = ChunkPlanner(8, pads=True)
    assert planner.next_size(10**6, False, 2) == 8
    planner.learn(8, 24, 30.0)
    planner.learn(32, 96, 120.0)
    assert planner.chunk_size(2) >= PADDED_BATCHES * 8 // 3
    alone = ChunkPlanner(8, pads=True)
    alone.learn(8, 8, 10.0)
    assert alone.chunk_size(2) == 8


def test_images_that_take_long_beside_the_engine_do_not_have_to_fill_a_batch() -> None:
    """As with a small model, whose batch is large, and files that come slowly."""
    planner = ChunkPlanner(64)
    planner.learn(8, 8, 2.4)
    assert planner.chunk_size(2) == 64
    planner.learn(11, 11, 3.3, cut=True)  # nor is it claimed again and again
    assert planner.chunk_size(2) == FIRST_CHUNK
    for _ in range(20):
        planner.learn(8, 8, 0.4)
    assert 28 <= planner.chunk_size(2) <= 30  # 1.5 s
    slow = ChunkPlanner(8)
    slow.learn(8, 8, 60.0)
    slow.learn(7, 7, 60.0, cut=True)
    assert slow.chunk_size(2) == 8


def test_images_that_fail_at_once_do_not_make_one_huge_chunk() -> None:
    planner = ChunkPlanner(8)
    size = planner.next_size(10**6, False, 2)
    planner.learn(size, 0, 0.0)
    assert planner.next_size(10**6, False, 2) <= 4 * size
    for _ in range(20):
        planner.learn(size, 0, 0.0)
        size = planner.next_size(10**6, False, 2)
        assert 1 <= size <= LARGEST_CHUNK
