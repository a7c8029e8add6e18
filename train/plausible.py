"""Whether images are pairs by what they show: their levels, their halves, what they share.

Nothing here is certain, so it makes doubts and no errors. ``docs/data.md`` lists them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pix2pix_batch.text import format_count

Pixels = np.ndarray

COMPARED = 48
"""Pairs whose contents are compared with each other's."""

FEWEST_COMPARED = 8
"""Fewer do not tell whether partners are more alike than others."""

GRID = 48
"""Side of the small pictures that are compared."""

NARROW = 48
"""Levels of 255 that a side's pixels may span without being looked at: what is narrower is hardly
seen, and hardly learnt."""

FEW_LEVELS = 32
"""Grey levels in a label map: more classes are seldom in one image."""

GAP = 64
"""Levels between two neighbours that a picture of labels as numbers has not, and a mask has."""

SAME = 0.03
"""Mean difference, as a share of the contrast (the standard deviation), below which two images are
the same one, saved twice: as JPEG of quality 90, a photograph differs from itself by so much."""

RUNS_ON, JUMPS = 1.5, 3.0
"""The difference across a line over those beside it: less than the first and the picture runs on,
more than the second and another begins."""

PARTNERS = 0.9
"""How often halves of partners are more alike than those of others, where nothing is wrong."""

RESCALE = (
    "scale the values to all 255 by one rule for all images, or, if they are labels by number, "
    "give each label a colour of its own"
)

FEWEST = 3
"""Images that tell what a data set is like; two may be alike by chance."""


@dataclass(frozen=True)
class PairComparison:
    """What one pair shows. ``counts``: pixels at each level, ``(2, 256)``; ``greys``: how many
    grey levels each side uses, 0 where it has colours; ``constant``: sides of one colour;
    ``is_same``: both are one picture; ``small``: both small, for :func:`likeness`; ``jumps``:
    over the edges of possible panels; ``bands``: columns of one colour on both sides of the middle
    together, and of that at the outer edges, of images side by side."""

    counts: np.ndarray
    greys: tuple[int, int]
    constant: tuple[bool, bool]
    is_same: bool
    digests: tuple[bytes, bytes]
    small: tuple[Pixels, Pixels]
    jumps: dict[str, float] = field(default_factory=dict)
    bands: tuple[int, int] = (0, 0)


def compare_sides(a: Pixels, b: Pixels, side_by_side: bool) -> PairComparison:
    """Compare A and B of a pair for signs that they do not belong together.

    Args:
        a: ``uint8 (H, W, C)``.
        b: The same size.
        side_by_side: Whether both come from one image.
    """
    counts = np.stack([np.bincount(x.reshape(-1), minlength=256) for x in (a, b)])
    greys = (_grey_levels(a), _grey_levels(b))
    constant = (_is_constant(a), _is_constant(b))
    colours_a, colours_b = _colours(a), _colours(b)
    grey_a, grey_b = (image.mean(axis=2) for image in (colours_a, colours_b))
    difference = float(np.abs(colours_a - colours_b).mean())
    is_same = difference <= SAME * float(grey_a.std()) and not all(constant)
    jumps = _jumps(np.concatenate([grey_a, grey_b], axis=1)) if side_by_side else {}
    digests = (hashlib.sha256(a.tobytes()).digest(), hashlib.sha256(b.tobytes()).digest())
    return PairComparison(
        counts,
        greys,
        constant,
        is_same,
        digests,
        (_downscale(colours_a), _downscale(colours_b)),
        jumps,
        _measure_bands(a, b) if side_by_side else (0, 0),
    )


def _measure_bands(a: Pixels, b: Pixels) -> tuple[int, int]:
    colour = a[0, -1]
    inner = _count_uniform(a[:, ::-1], colour), _count_uniform(b, colour)
    outer = _count_uniform(a, colour) + _count_uniform(b[:, ::-1], colour)
    return sum(inner) if all(inner) else 0, outer


def _count_uniform(image: Pixels, colour: np.ndarray) -> int:
    """How many columns from the left are of this colour alone."""
    others = (image != colour).any(axis=(0, 2))
    return int(others.argmax()) if others.any() else image.shape[1]


def _colours(image: Pixels) -> Pixels:
    """``float32 (H, W, 3)``; alpha counts where colours say nothing."""
    if image.shape[2] == 4 and _is_constant(image[:, :, :3]):
        image = image[:, :, 3:]
    return np.broadcast_to(image[:, :, :3].astype(np.float32), (*image.shape[:2], 3))


def _grey_levels(image: Pixels) -> int:
    """How many levels a grey image uses; 0 for colours."""
    if image.shape[2] == 4 or (image != image[:, :, :1]).any():
        return 0
    return int(np.count_nonzero(np.bincount(image[:, :, 0].reshape(-1), minlength=256)))


def _is_constant(image: Pixels) -> bool:
    return bool((image == image[0, 0]).all())


def _downscale(colours: Pixels) -> Pixels:
    """``float32 (GRID, GRID, 3)``, averaged."""
    parts = [Image.fromarray(np.ascontiguousarray(colours[:, :, i])) for i in range(3)]
    size = (GRID, GRID)
    return np.stack([np.asarray(part.resize(size, Image.Resampling.BOX)) for part in parts], axis=2)


def _jumps(whole: Pixels) -> dict[str, float]:
    """How much more neighbours differ over the edges of panels than beside them."""
    columns = np.abs(np.diff(whole, axis=1)).mean(axis=0)
    rows = np.abs(np.diff(whole, axis=0)).mean(axis=1)
    width, height = len(columns) + 1, len(rows) + 1
    places = {"middle": (columns, width / 2), "rows": (rows, height / 2)}
    for n, k in ((3, 1), (3, 2), (4, 1), (4, 3)):
        places[f"{k}/{n}"] = (columns, k * width / n)
    jumps = {}
    for name, (steps, place) in places.items():
        if not len(steps):  # one pixel high
            jumps[name] = 1.0
            continue
        at = round(place) - 1
        # thirds of a width that is not their multiple lie between two pixels
        over = steps[max(0, at - 1) : at + 2].max() if "3" in name else steps[at]
        beside = np.concatenate([steps[max(0, at - 9) : max(0, at - 1)], steps[at + 2 : at + 10]])
        near = float(np.median(beside)) if len(beside) else 0.0
        jumps[name] = (float(over) + 0.5) / (near + 0.5)
        if name == "middle":
            jumps["texture"] = near
    return jumps


class Evidence:
    """What the pairs of a data set show together."""

    def __init__(self, side_by_side: bool) -> None:
        self.side_by_side = side_by_side
        self.counts = np.zeros((2, 256), np.int64)
        self.looks: list[PairComparison] = []
        self.constants = [0, 0]
        self.number = self.same = 0
        self.greys: list[list[int]] = [[], []]
        self.digests: list[set[bytes]] = [set(), set()]

    def add(self, comparison: PairComparison) -> None:
        self.number += 1
        self.counts += comparison.counts
        self.same += comparison.is_same
        for side in range(2):
            self.constants[side] += comparison.constant[side]
            self.greys[side].append(comparison.greys[side])
            if len(self.digests[side]) < FEWEST:
                self.digests[side].add(comparison.digests[side])
        if len(self.looks) < COMPARED:
            self.looks.append(comparison)

    def doubts(
        self, describe_remedies: Callable[[], Mapping[int, str]] = dict, has_panels: bool = True
    ) -> list[str]:
        """Why these may be no pairs, or not the ones that were meant, a sentence each.

        Args:
            describe_remedies: What to do about values in one or a few levels, by side, where it is
                not to scale them; called where there are such.
            has_panels: Whether images side by side may show other panels than A and B.
        """
        if not self.number:
            return []
        doubts = [self._same(), *(self._values(side, describe_remedies) for side in range(2))]
        if 2 * self.same < self.number:
            panels = self._panels() if has_panels else ""
            doubts.append(panels or self._turned() or self._unlike())
        return [text for text in doubts if text]

    def _same(self) -> str:
        if self.same < max(1, self.number // 10):
            return ""
        of = f"in {self.same:,} of {format_count(self.number, 'pair')}"
        return f"A and B are the same picture {of}: there is nothing to learn"

    def _values(self, side: int, describe_remedies: Callable[[], Mapping[int, str]]) -> str:
        name, number = "AB"[side], self.number
        counts = self.counts[side]
        levels = np.flatnonzero(counts)
        if self.constants[side] == number:
            what = f" ({levels[0]})" if len(levels) == 1 else ""
            remedy = describe_remedies().get(side, "")
            return f"every {name} is of one colour{what}{remedy and ': ' + remedy}"
        if number >= FEWEST and len(self.digests[side]) == 1:
            return f"every {name} is the same picture"
        if narrow := _describe_narrow_levels(counts):
            remedy = describe_remedies().get(side, "")
            return f"{name} {narrow} of 255: {remedy and remedy + '; or '}{RESCALE}"
        greys = self.greys[side]
        if all(greys) and self._are_numbers(levels, greys):
            return (
                f"{name} is grey, and each image uses few levels close together (of "
                f"{levels[0]}..{levels[-1]}), as labels by number do: give each label a colour "
                "that is far from the others'"
            )
        if 2 * self.constants[side] > number:
            return f"{self.constants[side]:,} of {number:,} {name} are of one colour"
        return ""

    def _are_numbers(self, levels: np.ndarray, greys: Sequence[int]) -> bool:
        steps = np.diff(levels[levels < 255])
        return (
            len(steps) > 1
            and float(np.percentile(greys, 90)) <= FEW_LEVELS  # nearly each image
            and int(steps.max()) < GAP
            and float(np.median(steps)) <= 2
        )

    def _panels(self) -> str:
        if not self.side_by_side or len(self.looks) < FEWEST:
            return ""
        jumps = {
            key: float(np.median([comparison.jumps[key] for comparison in self.looks]))
            for key in self.looks[0].jumps
        }
        middle = jumps["middle"]
        bands = [comparison.bands for comparison in self.looks]
        gap = min(inner for inner, _ in bands)
        if gap > 1 and np.median([outer for _, outer in bands]) == 0:
            return (
                f"a band of one colour, {gap} pixels wide, lies between A and B: cut it out first, "
                "or A and B do not lie alike"
            )
        if min(jumps["1/4"], jumps["3/4"]) > JUMPS:
            return "they look like four pictures side by side, not two"
        are_three = middle < RUNS_ON and min(jumps["1/3"], jumps["2/3"]) > JUMPS
        are_above = middle < RUNS_ON and jumps["rows"] > JUMPS
        if (are_three or are_above) and self._are_partners():
            return ""
        if are_three:
            return "they look like three pictures side by side, not two"
        if are_above:
            return "they look like one picture above another, not side by side"
        if middle < RUNS_ON and jumps["texture"] > 1:
            return "the pictures run on across the middle: are these really A and B side by side?"
        return ""

    def _are_partners(self) -> bool:
        """Whether the left and right halves are alike, and more than the upper and lower ones:
        what is symmetric has edges where another picture might begin."""
        small = [comparison.small for comparison in self.looks]
        share = likeness(small)
        own = own_likeness(small)
        if not len(own) or (share is not None and share < PARTNERS):
            return False
        whole = [np.concatenate([a, b], axis=1) for a, b in small]
        upper = own_likeness([(x[: GRID // 2], x[GRID // 2 :]) for x in whole])
        return not len(upper) or float(own.mean()) >= float(upper.mean())

    def _turned(self) -> str:
        """Where B, mirrored or turned, is more like A."""
        small = [comparison.small for comparison in self.looks]
        plain = own_likeness(small)
        if len(plain) < FEWEST_COMPARED:
            return ""
        turned = {
            how: own_likeness([(a, np.ascontiguousarray(turn(b))) for a, b in small])
            for how, turn in TURNS.items()
        }
        how = max(turned, key=lambda how: float(turned[how].mean()))
        better = turned[how]
        if np.mean(better > plain) >= 0.8 and better.mean() > 1.2 * plain.mean():
            return f"B looks like A {how}: are they the same way up?"
        return ""

    def _unlike(self) -> str:
        share = likeness([comparison.small for comparison in self.looks])
        if share is None:
            return ""
        number = len(self.looks)
        least = 0.5 + 3 * 0.29 / number**0.5  # the deviation of a uniform rank is 0.29
        if share >= min(least, 0.75):
            return ""
        halves = "the halves of an image" if self.side_by_side else "the A and B of a pair"
        return (
            f"{halves} show no more of each other than of other pairs' (looked at "
            f"{number:,}): are they the same scene, the same way up?"
        )


def _describe_narrow_levels(counts: np.ndarray) -> str:
    """The levels in which pixels lie where they are few, but for those that mark nothing apart (0,
    255)."""
    total = counts.sum()
    common = np.flatnonzero(counts > 1e-4 * total)
    low, high = int(common[0]), int(common[-1])
    if high - low < NARROW:
        return _format_levels(low, high, "")
    inner = common[common < 255]
    if not 1 < len(inner) < len(common):
        return ""
    span = int(inner[-1] - inner[0])
    if span < min(NARROW, 3 * len(inner)) and counts[inner].sum() > 0.2 * total:
        return _format_levels(int(inner[0]), int(inner[-1]), " and 255")
    return ""


def _format_levels(low: int, high: int, more: str) -> str:
    said = f"level {low}" if low == high else f"levels {low}..{high}"
    return f"uses {said}{more}"


TURNS: dict[str, Callable[[Pixels], Pixels]] = {
    "mirrored": lambda x: x[:, ::-1],
    "upside down": lambda x: x[::-1],
    "turned by half": lambda x: x[::-1, ::-1],
    "turned by a quarter": lambda x: np.rot90(x),
    "turned by a quarter to the right": lambda x: np.rot90(x, 3),
    "with rows and columns exchanged": lambda x: x.transpose(1, 0, 2),
}


def likeness(small: Sequence[tuple[Pixels, Pixels]]) -> float | None:
    """How often partners are more alike than A and another pair's B: 1 always, about 0.5 where
    they have nothing to do with each other. ``None`` where too few images show anything."""
    scores = _scores(small)
    number = len(scores)
    if number < FEWEST_COMPARED:
        return None
    own = np.diag(scores)[:, None]
    below = (scores < own).sum(axis=1) + 0.5 * ((scores == own).sum(axis=1) - 1)
    return float((below / (number - 1)).mean())


def own_likeness(small: Sequence[tuple[Pixels, Pixels]]) -> np.ndarray:
    """How alike partners are, those that show something."""
    return np.diag(_scores(small))


def _scores(small: Sequence[tuple[Pixels, Pixels]]) -> np.ndarray:
    """How alike each A and each B are, ``(N, N)``, without the pairs that show nothing.

    Compared are grey values and the gradients of colours, without what all images share and
    without the means of rows and columns, which any two landscapes share too.
    """
    sides = [np.stack(images) for images in zip(*small, strict=True)]
    scores = np.zeros((len(sides[0]),) * 2)
    shows = np.ones(len(sides[0]), bool)
    for feature in (lambda x: x.mean(axis=3), _gradients):
        vectors = []
        for side in sides:
            values = _centre(feature(side))
            norms = np.linalg.norm(values, axis=1)
            shows &= norms > 1e-3
            vectors.append(values / np.maximum(norms, 1e-3)[:, None])
        scores = scores + np.abs(vectors[0] @ vectors[1].T)
    return scores[np.ix_(shows, shows)]


def _gradients(images: np.ndarray) -> np.ndarray:
    down, across = np.gradient(images, axis=(1, 2))
    steps: np.ndarray = np.hypot(down, across).sum(axis=3)
    return steps


def _centre(images: np.ndarray) -> np.ndarray:
    """``float32 (N, pixels)``."""
    own = images - images.mean(axis=0)
    own = own - own.mean(axis=1, keepdims=True)
    own = own - own.mean(axis=2, keepdims=True)
    return own.reshape(len(own), -1)
