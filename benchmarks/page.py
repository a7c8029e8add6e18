"""What the report of a large job costs: seconds, bytes, memory.

    python benchmarks/page.py [--items 1000000] [--keep DIRECTORY]

Makes the journal of a job of that many items, as two workers write it over two days with a pause,
one item in a thousand failed and one in a hundred far from the training inputs; puts the example
maps, and their negatives as outputs, where the items that the report shows would lie; and writes
the report as the command does.
"""

from __future__ import annotations

import argparse
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from PIL import Image, ImageOps

from pix2pix_batch.engines.doctor import cpu_model
from pix2pix_batch.journal.reader import read_events
from pix2pix_batch.journal.record import SCHEMA, Record, to_line
from pix2pix_batch.reporting.html_page import LIMIT, NAME
from pix2pix_batch.reporting.statistics import Statistics
from pix2pix_batch.storage.common import DIRECTORY

EXAMPLES = Path(__file__).parents[1] / "examples" / "maps"
CHUNK, CHUNK_SECONDS = 64, 1.5
BEGUN = 1_700_000_000
PAUSE = 40_000.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="Leave the job there, to look at its report.")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.keep or Path(folder)
        out = place / "out"
        length = make_job(place / "in", out, arguments.items)
        start = time.perf_counter()
        command = [sys.executable, "-m", "pix2pix_batch.cli", "report", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (out / NAME).stat().st_size
    print(f"{cpu_model()}\n")
    print("| figure | measured |\n| --- | --- |")
    print(f"| items, journal | {arguments.items:,}, {length / 1e6:.0f} MB |")
    print(f"| the command `report` | {seconds:.1f} s |")
    print(f"| time of processors | {used.ru_utime + used.ru_stime:.1f} s |")
    print(f"| report.html | {size / 1e6:.2f} MB of at most {LIMIT / 1e6:.0f} |")
    print(f"| peak memory | {used.ru_maxrss / 1024:.0f} MiB |")


def make_job(source: Path, out: Path, items: int) -> int:
    """The bytes of the journal."""
    (out / DIRECTORY / "tmp").mkdir(parents=True)
    path = out / DIRECTORY / "journal.jsonl"
    with path.open("wb") as file:
        file.writelines(lines(source, items))
    tally = Statistics(read_events(out))
    maps = cycle([Image.open(file).convert("RGB") for file in sorted(EXAMPLES.glob("*.png"))])
    for values in [*tally.samples, *tally.doubtful]:
        picture = next(maps)
        for place, image in (
            (source / values["name"], picture),
            (out / values["output"], ImageOps.invert(picture)),
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            image.save(place, compress_level=1)
    return path.stat().st_size


def lines(source: Path, items: int) -> Iterator[bytes]:
    chance = random.Random(0)
    yield to_line({"schema": SCHEMA, "input": str(source.resolve()), "model_name": "map2aerial"})
    yield to_line({"begin": BEGUN, "workers": 2})
    for first in range(0, items, CHUNK):
        chunk = range(first, min(first + CHUNK, items))
        yield to_line({"claim": [name(item) for item in chunk]})
        for item in chunk:
            yield record(item, chance).line()
        at = BEGUN + first / CHUNK * CHUNK_SECONDS / 2 + (PAUSE if 2 * first > items else 0)
        worker = f"tcp://127.0.0.1:{40000 + first // CHUNK % 2}"
        yield to_line({"at": round(at, 3), "seconds": chance.gauss(1.5, 0.1), "worker": worker})
    yield to_line({"end": at, "outcome": "finished"})


def name(item: int) -> str:
    return f"zoom{item % 20}/{item // 1000 % 100}/tile_{item:08}.png"


def record(item: int, chance: random.Random) -> Record:
    stamp = f"{chance.randrange(99999)}:1700000000000000000"
    if chance.random() < 0.001:
        reason = f"damaged: image file is truncated ({item % 100} bytes not processed)"
        return Record(name(item), "failed", stamp, reason=reason)
    far = chance.random() < 0.01
    distance = chance.uniform(99, 100) if far else chance.uniform(0, 99)
    digest = f"{chance.getrandbits(128):032x}"
    return Record(name(item), "done", stamp, name(item), hash=digest, distance=round(distance, 2))


if __name__ == "__main__":
    main()
