"""The ResNet of CUT and FastCUT (Park et al. 2020, arXiv 2007.15651), which is antialiased.

In place of strides, it has convolutions of stride 1 and fixed blurs before every second pixel is
taken (Zhang 2019, arXiv 1904.11486); in place of transposed convolutions, linear interpolation and
convolutions of stride 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pix2pix_batch.generators.description import Layout, LayoutError, Shapes
from pix2pix_batch.generators.layers import IMAGE, Convolution, Layer, Resample
from pix2pix_batch.generators.positions import Entry
from pix2pix_batch.generators.residual import ResidualGenerator, filters, read_residual

BLUR, INTERPOLATION = (1, 2, 1), (1, 3, 3, 1)
"""Along each axis, of the kernel before every other pixel is taken, and of that which doubles."""


@dataclass(frozen=True)
class CutResNet(ResidualGenerator):
    """All that is needed to build CUT's ResNet."""

    family: ClassVar[str] = "cut"
    title: ClassVar[str] = "antialiased ResNet"
    known_as: ClassVar[str] = "CUT's and FastCUT's antialiased ResNet"

    @property
    def _before_blocks(self) -> str:
        return f"down.{self.downs - 1}.blurred"

    def encoder(self, source: str = IMAGE) -> Iterator[Layer]:
        yield self.stem("stem", source, self.ngf)
        before = "stem"
        for i in range(self.downs):
            name, width = f"down.{i}", self.width(i)
            yield Convolution(name, before, width, 2 * width, 3, bias=self.conv_bias)
            before = f"{name}.blurred"
            yield Resample(before, name, 2 * width, "blur")

    def decoder(self) -> Iterator[Layer]:
        before = f"block.{self.blocks - 1}.1"
        for i in reversed(range(self.downs)):
            name, width = f"up.{i}", self.width(i + 1)
            yield Resample(f"{name}.enlarged", before, width, "bilinear")
            yield Convolution(name, f"{name}.enlarged", width, width // 2, 3, bias=self.conv_bias)
            before = name

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """A filter after each convolution that the reference's ResNet has a stride in, and one
        before each that is transposed there."""
        found = read_residual(shapes)
        if found is None or not filters(found.stages.before):
            return None
        downs, ups = filters(found.stages.before), filters(found.stages.after)
        if found.upsample != "nearest" or len(downs) != found.downs or len(ups) != found.downs:
            raise LayoutError(
                "blurs before some of its changes of size and not before others; CUT's ResNet with "
                "antialiasing everywhere is known (the default), and CycleGAN's, which has none"
            )
        fixed = _list_fixed_kernels(downs, BLUR, shapes) | _list_fixed_kernels(
            ups, INTERPOLATION, shapes
        )
        return found.layout()._replace(fixed=fixed)


def _list_fixed_kernels(
    entries: list[Entry], line: tuple[int, ...], shapes: Shapes
) -> dict[str, list[list[float]]]:
    """The fixed kernels by their names. Raises :class:`LayoutError` for ones of another size."""
    scale = (2 / sum(line)) ** 2 if len(line) == 4 else 1 / sum(line) ** 2
    kernel = [[a * b * scale for b in line] for a in line]
    expected = {}
    for entry in entries:
        key = f"{entry.prefix}.filt"
        if shapes[key][2:] != (len(line), len(line)):
            raise LayoutError(
                f"{key!r} has the shape {shapes[key]}; known are blurs of {len(BLUR)} pixels and "
                f"interpolation by {len(INTERPOLATION)}, CUT's own"
            )
        expected[key] = kernel
    return expected
