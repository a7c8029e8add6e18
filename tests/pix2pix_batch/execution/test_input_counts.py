"""What ``status`` says of a job whose inputs change between its runs."""

from __future__ import annotations

import tempfile
import threading
from itertools import chain
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pix2pix_batch.execution.item_selector import ItemSelector
from pix2pix_batch.execution.run_recorder import RunRecorder
from pix2pix_batch.inputs.scan import open_inputs
from pix2pix_batch.inputs.source import InputSource, ScanOptions
from pix2pix_batch.item import Item
from pix2pix_batch.journal.record import Record
from pix2pix_batch.journal.shard import Shard
from pix2pix_batch.journal.writer import Journal
from pix2pix_batch.options import Options
from pix2pix_batch.reporting.status import Status, read_status
from pix2pix_batch.reporting.summary import Summary
from pix2pix_batch.storage import files

NAMES = ("good 1", "good 2", "good 3", "odd 1", "odd 2", "bad 1", "bad 2")
names = st.sampled_from(NAMES)
sizes = st.sampled_from([0, 1, 2])  # 0: there is no such file
halves = ("1/2", "2/2")
steps = st.one_of(
    st.builds(lambda sizes: [("write", sizes)], st.dictionaries(names, sizes, min_size=1)),
    st.builds(lambda shard: [("run", shard)], st.sampled_from(["", *halves, "1/3", "2/3", "3/3"])),
    st.builds(lambda shard: [("watched run", shard)], st.sampled_from(["", *halves])),
    st.builds(lambda shards: [("run", one) for one in shards], st.permutations(halves)),
    st.builds(lambda name: [("exclude", name)], names),
    st.builds(lambda name: [("only", name)], names),
    st.builds(lambda limit: [("limit", limit)], st.integers(1, 3)),
)


class Inputs:
    """IN and OUT, and runs of a job as :class:`Job` has them, but for the workers."""

    def __init__(self, directory: Path) -> None:
        self.root, self.out = directory / "in", directory / "out"
        self.root.mkdir()
        self.out.mkdir()

    def write(self, sizes: dict[str, int]) -> None:
        for name, size in sizes.items():
            path = self.root / f"{name}.png"
            path.unlink(missing_ok=True)
            if size:
                path.write_bytes(b"x" * size)

    def scan(self, exclude: str = "", only: str = "") -> InputSource:
        excluded = (f"{exclude}.png",) if exclude else ()
        source = self.root / f"{only}.pn[g]" if only else self.root
        return open_inputs(str(source), ScanOptions("png", str(self.out), exclude=excluded))

    def run(
        self,
        shard: str = "",
        exclude: str = "",
        only: str = "",
        limit: int | None = None,
        watched: bool = False,
    ) -> None:
        options, summary = Options(model="", shard=shard or None, limit=limit), Summary(model="")
        selector = ItemSelector(
            self.scan(exclude, only), options, str(self.out), self.out, summary, threading.Event()
        )
        journal = Journal(self.out, {"input": "in"}, shard=selector.shard)
        recorder = RunRecorder(journal, summary, None, selector.shard)
        items = list(selector.select(journal, recorder.record))
        if items:
            recorder.begin(1)
            if watched:
                recorder.count(selector.count(self.scan(exclude), journal), selector.presence)
            recorder.claim([item.name for item in items])
            recorder.record([self.convert(item) for item in items])
        if items or selector.presence is not None:
            recorder.count(summary.total, selector.presence)
        recorder.end()

    def convert(self, item: Item) -> Record:
        stamp = files.stamp_of(item.path)
        if item.name.startswith("bad"):
            return Record(item.name, "failed", stamp, reason="is damaged")
        (self.out / item.output).touch()
        warning = "is short" if item.name.startswith("odd") else ""
        return Record(item.name, "done", stamp, item.output, warning=warning)

    def list_names(self) -> set[str]:
        return {path.stem for path in self.root.iterdir()}


def count_of(names: set[str]) -> tuple[int, int, int, int]:
    """All, done, failed and warned, were all of ``names`` done."""
    failed, warned = (sum(one.startswith(kind) for one in names) for kind in ("bad", "odd"))
    return len(names), len(names) - failed, failed, warned


def counts(found: Status) -> tuple[int | None, int, int, int]:
    return found.total, found.done, found.failed, found.warned


@settings(max_examples=25, deadline=None)
@given(st.lists(steps, min_size=3, max_size=7).map(lambda some: list(chain.from_iterable(some))))
@example([("run", ""), ("exclude", "bad 1"), ("run", "1/2"), ("run", "2/2"), ("run", "")])
@example([("run", ""), ("only", "good 1"), ("write", {"good 2": 1}), ("only", "good 2")])
@example([("run", ""), ("write", {"good 2": 1, "odd 2": 1}), ("run", "2/2"), ("run", "1/2")])
def test_status_counts_what_is_there_once_a_run_or_all_shards_have_looked(
    given: list[tuple[str, object]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        inputs = Inputs(Path(directory))
        inputs.write({"good 1": 1, "odd 1": 1, "bad 1": 1})
        known: set[str] | None = set()  # what was there when a run last looked for it
        is_counted = False  # all that is there now
        looked: set[str] = set()  # the shards that have, since all changed
        unmerged = ""
        for kind, what in given:
            if isinstance(what, dict):
                inputs.write(what)
                looked.clear()
                is_counted = False
                continue
            sought = set(NAMES)
            if isinstance(what, int):
                inputs.run(limit=what)
                known = None
            elif kind == "exclude":
                inputs.run(exclude=str(what))
                sought -= {str(what)}
            elif kind == "only":
                inputs.run(only=str(what))
                sought = {str(what)}
            else:
                shard = str(what)
                if shard and unmerged and shard[-1] != unmerged[-1]:
                    continue  # refused
                inputs.run(shard=shard, watched=kind == "watched run")
                if shard:
                    sought = {one for one in NAMES if Shard.parse(shard).holds(f"{one}.png")}
            is_shard = kind.endswith("run") and what
            unmerged = str(what) if is_shard else ""
            if is_shard:
                looked = {one for one in looked if one[-1] == unmerged[-1]} | {unmerged}
            else:
                looked.clear()
            found = read_status(inputs.out)
            if is_shard or isinstance(what, int):
                is_counted = bool(is_shard) and len(looked) == int(unmerged[-1:])
            elif kind == "run":
                is_counted, known = True, set()
            if is_counted:
                known = inputs.list_names()
                assert counts(found) == count_of(known) and found.left == 0
            elif known is not None:
                known = (known - sought) | (sought & inputs.list_names())
                assert counts(found)[1:] == count_of(known)[1:]
            if is_shard and found.missing:
                assert found.total is None
            assert found.total is None or found.total >= found.done + found.failed
            assert sum(group.count for group in found.failures) == found.failed
            assert found.warned <= found.done


def test_what_a_run_of_a_part_misses_is_taken_off_the_total(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    inputs.write({"good 1": 1, "good 2": 1, "odd 1": 1})
    inputs.run()
    inputs.write({"good 2": 0})
    inputs.run(only="good *")
    assert counts(read_status(inputs.out)) == (2, 2, 0, 1)


def test_tars_are_not_looked_for_beside_images_nor_images_below_tars(tmp_path: Path) -> None:
    inputs = Inputs(tmp_path)
    (inputs.root / "t.tar").write_bytes(b"x")
    (inputs.root / "sub").mkdir()
    (inputs.out / "sub").mkdir()
    inputs.write({"sub/good 2": 1})
    inputs.run()
    assert counts(read_status(inputs.out)) == (1, 1, 0, 0)
    inputs.write({"good 1": 1})
    inputs.run()
    assert counts(read_status(inputs.out)) == (3, 3, 0, 0)
    inputs.write({"good 1": 0})
    inputs.run()
    assert counts(read_status(inputs.out)) == (3, 3, 0, 0), "sub/good 2.png is there"


def test_what_was_gone_is_back_also_if_the_run_that_converts_it_counts_no_inputs(
    tmp_path: Path,
) -> None:
    inputs = Inputs(tmp_path)
    inputs.write({"good 1": 1, "odd 1": 1})
    inputs.run()
    inputs.write({"odd 1": 0})
    inputs.run()
    for status, reason in (("failed", "its output was missing: no such file"), ("done", "")):
        journal = Journal(inputs.out, {"input": "in"})
        journal.add([Record("odd 1.png", status, reason=reason)])  # by a check of the outputs
        journal.close()
        assert counts(read_status(inputs.out)) == (1, 1, 0, 0)
    inputs.run()
    assert counts(read_status(inputs.out)) == (1, 1, 0, 0)
    inputs.write({"odd 1": 2})
    inputs.run(limit=2)
    assert counts(read_status(inputs.out))[1:] == (2, 0, 1)
    inputs.run()
    assert counts(read_status(inputs.out)) == (2, 2, 0, 1)
