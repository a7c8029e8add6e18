"""An image's way from the engine to OUT: its pixels and metadata encoded, written, recorded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.distance import Domain
from pix2pix_batch.errors import ImageError
from pix2pix_batch.imaging import image_statistics, images
from pix2pix_batch.imaging.composite import to_eight_bits
from pix2pix_batch.imaging.output_formats import OUTPUT_FORMATS
from pix2pix_batch.imaging.raster.profile import RasterExtras
from pix2pix_batch.imaging.raster.streaming import StreamedTiles
from pix2pix_batch.inference import carried_metadata, input_reading, large_images
from pix2pix_batch.inference.carried_metadata import Place
from pix2pix_batch.inference.pending_image import PendingImage, Watch
from pix2pix_batch.inference.settings import Settings
from pix2pix_batch.item import Item
from pix2pix_batch.journal.integrity import digest_of
from pix2pix_batch.journal.record import PART, Record
from pix2pix_batch.memory_limit import explain_too_large
from pix2pix_batch.noise import SOURCE


class OutputWriter:
    """Writes the outputs of a chunk; its methods may be called in several threads."""

    def __init__(
        self, settings: Settings, info: BundleInfo, domain: Domain | None, watch: Watch
    ) -> None:
        """Keep what all outputs of a chunk have in common.

        Args:
            settings: The job's.
            info: The bundle's metadata.
            domain: The distribution of the model's training inputs; ``None`` if it is not known.
            watch: Entered for each step of each image.
        """
        self.settings, self.info, self.domain, self.watch = settings, info, domain, watch

    def write(self, work: PendingImage, place: Place) -> Record:
        """Write the output of an image whose tiles are complete, and what lies beside it; what
        became of it. Raises :class:`OutputError` where nothing more can be written."""
        if isinstance(work.tiles, StreamedTiles):
            return self._write_large(work, work.tiles, place)
        item = work.item
        try:
            with self.watch("encoding it", item.name):
                data, lost = self._encode(work)
        except MemoryError:
            # Without a stamp: another machine, or this one with fewer workers, may have the memory.
            return Record(item.name, "failed", reason=explain_too_large())
        except Exception as error:
            reason = f"cannot be written as {item.form}: {error}"
            return Record(item.name, "failed", work.stamp, reason=reason)
        try:
            with self.watch("writing it", item.name):
                sidecar_paths = carried_metadata.place_output(
                    item, work.metadata, data, place, self.settings
                )
        except ImageError as error:  # for no reason of the input's own: it is tried again
            return Record(item.name, "failed", reason=str(error))
        return self._record(
            work, work.squared_distances, digest_of(data), (work.warning, lost), sidecar_paths
        )

    def _encode(self, work: PendingImage) -> tuple[bytes, str]:
        """The output's bytes, and what the format does not hold of the input's metadata."""
        item, kept = work.item, work.metadata
        picture = images.Picture(self._choose_pixels(work), work.alpha)
        extras = self._make_extras(work)
        lost = carried_metadata.describe_lost(kept, item.form)
        data = images.write(
            picture,
            item.form,
            self.settings.quality,
            kept.exif,
            kept.fields,
            self._origin(item) or kept.xmp,
            extras,
            kept.iptc,
        )
        return data, lost

    def _choose_pixels(self, work: PendingImage) -> np.ndarray:
        if work.item.variant == SOURCE:
            assert work.pixels is not None
            return work.pixels
        assert work.tiles.result is not None
        if self.settings.side_by_side:
            assert work.pixels is not None
            return images.side_by_side(work.pixels, work.tiles.result)
        return work.tiles.result

    def _make_extras(self, work: PendingImage) -> RasterExtras | None:
        """For the writer of rasters; ``None`` where the image is written as a picture. Raises
        :class:`ImageError`."""
        item, kept, profile = work.item, work.metadata, work.profile
        if item.variant == SOURCE:
            return input_reading.make_source_extras(profile, item.form, self.info, self.settings)
        is_raster = not self.info.ranges.output.is_picture
        if profile is None and OUTPUT_FORMATS[item.form].driver and is_raster:
            profile = input_reading.place_of(kept.fields, work.alpha is not None)
        extras = input_reading.make_extras(profile, item.form, self.info, self.settings)
        if extras is None:
            return None
        return carried_metadata.add_described(extras, kept, self._origin(item))

    def _origin(self, item: Item) -> bytes:
        """XMP that says where the output comes from; a copy of the input has none."""
        return b"" if item.variant == SOURCE else self.settings.origin

    def _write_large(self, work: PendingImage, tiles: StreamedTiles, place: Place) -> Record:
        """As :meth:`write`, of an image whose rows lie on the disk."""
        item = work.item
        if item.rows is not None:
            tiles.raster.close()
            return Record(item.name, PART, work.stamp)
        try:
            squared_distances = tiles.all_squared_distances() if self.domain is not None else []
            with self.watch("writing it", item.name):
                sidecar_paths = carried_metadata.place_sidecars(
                    item, work.metadata, place, self.settings
                )
            watched = partial(self.watch, "writing it", item.name)
            kept, settings = work.metadata, self.settings
            digest = large_images.write_output(tiles, item, kept, self.info, settings, watched)
        except ImageError as error:
            return Record(item.name, "failed", reason=str(error))
        finally:
            tiles.raster.close()
        if self.settings.keep_times:
            time = carried_metadata.modification_time(item)
            carried_metadata.date(Path(self.settings.out) / item.output, time)
        lost = carried_metadata.describe_lost(work.metadata, item.form)
        return self._record(
            work, squared_distances, digest, (*tiles.raster.warnings, lost), sidecar_paths
        )

    def _record(
        self,
        work: PendingImage,
        squared_distances: list[float],
        digest: str,
        warnings: Iterable[str],
        sidecar_paths: tuple[str, ...],
    ) -> Record:
        """``squared_distances``: of its tiles; ``digest``: of the output; ``sidecar_paths``: in
        OUT, of the files that go with it."""
        item, warning = work.item, "; ".join(filter(None, warnings))
        record = Record(
            item.name,
            "done",
            work.stamp,
            item.output,
            hash=digest,
            input=work.input,
            warning=warning,
            beside=sidecar_paths or None,
        )
        if item.variant == SOURCE:  # a copy of the input, whose distance and look say nothing
            return record
        if self.domain is not None:
            distance = self.domain.distance(squared_distances, work.tiles.shares)
            unmeasured = True if distance is None else None
            record = replace(record, distance=distance, unmeasured=unmeasured)
        if self.settings.inspect and work.tiles.result is not None:
            seen = to_eight_bits(work.tiles.result, self.info.ranges.output)
            record = replace(record, **image_statistics.measure_appearance(seen))
        return record
