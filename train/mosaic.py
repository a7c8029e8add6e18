"""Training pairs cut from two aligned mosaics of the whole Earth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pix2pix_batch.errors import InputError

Band = tuple[float, float]


@dataclass(frozen=True)
class MosaicPair:
    """Two aligned plate carrée mosaics: pixel x is longitude -180..180, y latitude 90..-90.

    ``source`` and ``target``: ``uint8`` arrays ``(H, W, 3)``; ``land``: ``bool (H, W)``.
    """

    source: np.ndarray
    target: np.ndarray
    land: np.ndarray

    @classmethod
    def open(
        cls, source: Path, target: Path, sea: tuple[int, int, int], tolerance: int
    ) -> MosaicPair:
        """Read both mosaics; what is within ``tolerance`` of the colour ``sea`` is no land."""
        Image.MAX_IMAGE_PIXELS = None
        arrays = []
        for path in (source, target):
            try:
                arrays.append(np.asarray(Image.open(path).convert("RGB")))
            except OSError as error:
                raise InputError(f"{path}: cannot be read as an image ({error})") from error
        if arrays[0].shape != arrays[1].shape:
            raise InputError(
                f"{target}: its size differs from that of {source}; they must be aligned"
            )
        away = np.abs(arrays[0].astype(np.int16) - np.array(sea, np.int16)).max(axis=2)
        return cls(arrays[0], arrays[1], away > tolerance)

    def column(self, longitude: float) -> int:
        return round((longitude + 180) / 360 * self.source.shape[1])

    def row(self, latitude: float) -> int:
        return round((90 - latitude) / 180 * self.source.shape[0])


class CropSampler:
    """Random crops of both mosaics together, turned, stretched and mirrored the same way.

    There is one Earth and a generator soon knows it by heart; any turn and an own scale for
    each axis make every crop a new place. Crops lie wholly inside one of the longitude
    ``bands`` and the ``latitudes``, and their surroundings show at least ``min_land`` of land.
    ``scales``: range of mosaic pixels a crop's pixel, along each axis.
    """

    def __init__(
        self,
        mosaics: MosaicPair,
        bands: list[Band],
        latitudes: Band,
        *,
        size: int,
        scales: tuple[float, float],
        min_land: float,
        seed: int,
    ) -> None:
        self.mosaics, self.size, self.scales, self.min_land = mosaics, size, scales, min_land
        self.columns = [(mosaics.column(west), mosaics.column(east)) for west, east in bands]
        self.rows = (mosaics.row(latitudes[1]), mosaics.row(latitudes[0]))
        self.random = np.random.default_rng(seed)
        widths = np.array([right - left for left, right in self.columns], float)
        self.weights = widths / widths.sum()

    def _window(self, side: int) -> tuple[slice, slice]:
        """A square of ``side`` mosaic pixels with enough land."""
        rng = self.random
        while True:
            left, right = self.columns[rng.choice(len(self.columns), p=self.weights)]
            if right - left < side:
                continue
            x = int(rng.integers(left, right - side + 1))
            y = int(rng.integers(self.rows[0], self.rows[1] - side + 1))
            window = slice(y, y + side), slice(x, x + side)
            if self.mosaics.land[window].mean() >= self.min_land:
                return window

    def pair(self) -> tuple[np.ndarray, np.ndarray]:
        """One crop: two ``uint8`` arrays ``(size, size, 3)``."""
        low, high = np.log(self.scales)
        stretch = np.exp(self.random.uniform(low, high, 2)) * self.random.choice((-1, 1), 2)
        angle = self.random.uniform(0, 2 * np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = turn @ np.diag(stretch)
        side = int(np.ceil(np.abs(matrix).sum(axis=1).max() * self.size)) + 4
        window = self._window(side)
        shift = side / 2 - matrix @ np.full(2, self.size / 2)
        affine = (*matrix[0], shift[0], *matrix[1], shift[1])
        crops = [
            np.asarray(
                Image.fromarray(mosaic[window]).transform(
                    (self.size, self.size), Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC
                )
            )
            for mosaic in (self.mosaics.source, self.mosaics.target)
        ]
        return crops[0], crops[1]

    def batch(self, count: int) -> tuple[Tensor, Tensor]:
        """``count`` crops: two float tensors ``(count, 3, size, size)`` in [-1, 1]."""
        pairs = [self.pair() for _ in range(count)]
        return to_tensor([a for a, _ in pairs]), to_tensor([b for _, b in pairs])


def grid_crops(
    mosaics: MosaicPair, band: Band, latitudes: Band, *, size: int, stride: int, min_land: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Crops each ``stride`` pixels over ``band`` with enough land: the fixed validation set."""
    left, right = mosaics.column(band[0]), mosaics.column(band[1])
    top, bottom = mosaics.row(latitudes[1]), mosaics.row(latitudes[0])
    crops = []
    for y in range(top, bottom - size + 1, stride):
        for x in range(left, right - size + 1, stride):
            window = slice(y, y + size), slice(x, x + size)
            if mosaics.land[window].mean() >= min_land:
                crops.append((mosaics.source[window], mosaics.target[window]))
    return crops


def to_tensor(images: list[np.ndarray]) -> Tensor:
    """``uint8 (H, W, C)`` arrays to one float tensor ``(N, C, H, W)`` in [-1, 1]."""
    batch = torch.from_numpy(np.stack([np.ascontiguousarray(image) for image in images]))
    return batch.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)
