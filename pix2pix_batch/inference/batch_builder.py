"""Collects tiles into batches for an engine."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from pix2pix_batch.inference.backend_names import TORCH
from pix2pix_batch.noise import dropout_masks, multipliers

if TYPE_CHECKING:
    from pix2pix_batch.generators.description import Description
    from pix2pix_batch.generators.generator import NormStatistics
    from pix2pix_batch.inference.engine import AnySize, Engine, Masks, Translated
    from pix2pix_batch.inference.settings import Settings

Owner = TypeVar("Owner")


class BatchBuilder(Generic[Owner]):
    """Collects tiles, each with its owner, into batches for one engine, and keeps the batches that
    the engine is working on.

    ``keys``: what each tile's noise is made from; ``None`` for no noise. A batch that is not full
    is given to the engine as it is, or padded if the engine takes full batches only.
    """

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        architecture: Description,
        dtype: str = "uint8",
    ) -> None:
        """Make an empty batch.

        Args:
            engine: Translates the batches.
            settings: The job's, with a batch size.
            architecture: The generator's, which says how many channels a tile has.
            dtype: The type of the tiles' samples, by NumPy's name.
        """
        from pix2pix_batch.inference.engine import Overlapping

        assert settings.batch_size is not None
        self.engine, self.settings, self.architecture = engine, settings, architecture
        # images as a whole go one after the other, each of a size of its own
        one_by_one = settings.fit == "whole"
        self.overlapping = engine if isinstance(engine, Overlapping) and not one_by_one else None
        # PyTorch takes multipliers, and ones are no noise, so that tiles with and without noise may
        # share a batch; other engines take all masks or none.
        self.mixes = engine.backend == TORCH
        shape = settings.batch_size, settings.size, settings.size, architecture.in_channels
        self.buffer = np.zeros(shape, dtype)
        self.owners: list[Owner] = []
        self.keys: list[bytes | None] = []
        self.in_flight: deque[list[Owner]] = deque()

    def add(self, tile: np.ndarray, owner: Owner, key: bytes | None) -> bool:
        """Put a tile into the batch. Images that run at their own size form batches of one tile.

        Args:
            tile: Samples ``(H, W, C)``.
            owner: What the tile's translation is returned with.
            key: What the tile's noise is made from; ``None`` for no noise.

        Returns:
            Whether the batch is full now.
        """
        if tile.shape != self.buffer.shape[1:]:
            # The buffer is replaced, so nothing may lie in it.
            assert not self.owners and len(self.buffer) == 1
            self.buffer = np.zeros((1, *tile.shape), self.buffer.dtype)
        self.buffer[len(self.owners)] = tile
        self.owners.append(owner)
        self.keys.append(key)
        return len(self.owners) == len(self.buffer)

    def take(self) -> tuple[list[Owner], np.ndarray, Any]:
        """The batch's owners, its tiles, and its noise as the engine takes it.

        The next batch can fill once the engine has taken the tiles.
        """
        count = len(self.owners) if self.engine.takes_fewer else len(self.buffer)
        # Zeros, not what the batch before left: what runs beside the last images is the same each
        # time.
        self.buffer[len(self.owners) : count] = 0
        masks = self._multipliers(count) if self.mixes else self._masks(count)
        owners, self.owners, self.keys = self.owners, [], []
        return owners, self.buffer[:count], masks

    def _multipliers(self, count: int) -> Masks | None:
        if not any(self.keys):
            return None
        size, settings = self.buffer.shape[1:3], self.settings
        blocks = self.architecture.noise_blocks(settings.noise_blocks)
        shapes = self.architecture.mask_shapes(*size, settings.noise_blocks)
        made = {
            block: np.ones((count, *shape), np.float32)
            for block, shape in zip(blocks, shapes, strict=True)
        }
        for position, key in enumerate(self.keys):
            if key is not None:
                drawn = multipliers(key, shapes, settings.noise_rate)
                for mask, value in zip(made.values(), drawn, strict=True):
                    mask[position] = value
        return made

    def translate(
        self, tiles: np.ndarray, masks: Any, norms: NormStatistics | None = None
    ) -> Translated:
        """Run the engine on a batch.

        Args:
            tiles: Samples ``(N, H, W, C)``, as :meth:`take` returns them.
            masks: Their noise, as :meth:`take` returns it.
            norms: What :meth:`measure_norms` found, to norm all tiles of an image alike; ``None``
                if each tile is normed by itself.

        Returns:
            The translated tiles and their embeddings.
        """
        if norms is None:
            return self.engine(tiles, masks)
        return self._any_size.translate_with(tiles, masks, norms)

    def measure_norms(self, parts: np.ndarray) -> NormStatistics:
        """The statistics that the engine norms ``parts`` of an image by,
        ``(N, H, W, C)``."""
        return self._any_size.measure_norms(parts)

    @property
    def _any_size(self) -> AnySize:
        from pix2pix_batch.inference.engine import AnySize

        assert isinstance(self.engine, AnySize)
        return self.engine

    def _masks(self, count: int) -> Masks | None:
        """The masks for an engine that takes the trained noise for a whole batch or not at all."""
        if not self.settings.noise:
            return None
        shapes = self.architecture.mask_shapes(self.settings.size, self.settings.size)
        masks = [np.ones((count, *shape), bool) for shape in shapes]
        for position, key in enumerate(self.keys):
            if key is not None:
                for mask, value in zip(masks, dropout_masks(key, shapes), strict=True):
                    mask[position] = value
        return masks
