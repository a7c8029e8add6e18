"""The U-Net of pix2pix (Isola et al. 2017, arXiv 1611.07004, section 6.1.1). Needs no torch.

The network itself, and its way on the CPU, are older than the lists of layers that other families
are made of: :mod:`pix2pix_batch.generators.unet_network`, :mod:`pix2pix_batch.inference.onednn`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

from pix2pix_batch.generators.description import (
    Description,
    Layout,
    LayoutError,
    Norm,
    Part,
    Shapes,
)
from pix2pix_batch.text import format_count

MIN_DOWNS, MAX_DOWNS = 5, 10
TEXTURE_BLOCKS = 3
"""The decoder's outermost blocks, which draw what is 8 pixels wide or less."""
ROOT = "model.model."
"""Before every key of a checkpoint of the reference's."""
KERNEL = (4, 4)  # section 6.1: "all convolutions are 4x4 spatial filters"
MAX_WIDTH = 8  # section 6.1.1: C64-C128-C256-C512-C512-...: the width stops at 8 * ngf


# The parameters of the network, which are the fields of the bundle's metadata.
@dataclass(frozen=True)
class Architecture(Description):
    """All that is needed to build the network.

    ``downs``: halvings of the image (5 to 10); ``ngf``: filters of the first layer;
    ``dropout``: whether the inner decoder blocks take dropout noise; ``skips``: whether decoder
    blocks see the encoder's features (without, it is section 4.3's "encoder-decoder");
    ``bias``: whether the encoder's convolutions that no norm follows, its first and its last, have
    biases also where others have none, as with instance norm with scale and shift.
    """

    family: ClassVar[str] = "unet"
    title: ClassVar[str] = "U-Net"
    known_as: ClassVar[str] = "pix2pix's U-Net (--netG unet_256, unet_128)"
    network: ClassVar[str] = "pix2pix_batch.generators.unet_network:UNet"

    in_channels: int = 3
    out_channels: int = 3
    downs: int = 8
    ngf: int = 64
    norm: Norm = "batch-statistics"
    dropout: bool = True
    skips: bool = True
    bias: bool = False

    def __post_init__(self) -> None:
        self.require_sound({"downs": (MIN_DOWNS, MAX_DOWNS), "ngf": (1, 1024)}, ("skips", "bias"))

    @property
    def summary(self) -> str:
        kind = self.title if self.skips else "encoder-decoder"
        return f"{kind}, {self.downs} downs, ngf {self.ngf}"

    @property
    def multiple(self) -> int:
        """Image sides must be a multiple of this: ``2 ** downs``."""
        return 1 << self.downs

    @property
    def dropout_blocks(self) -> tuple[int, ...]:
        """The decoder blocks with dropout, innermost first: ``downs - 5`` of them.

        Block ``i`` works between the resolutions ``size / 2**(i+1)`` and ``size / 2**i``. The
        reference implementation puts dropout into the full-width blocks but the innermost.
        """
        return tuple(range(self.downs - 2, 3, -1)) if self.dropout else ()

    @property
    def possible_noise_blocks(self) -> tuple[int, ...]:
        """All but the innermost and the outermost."""
        return tuple(range(self.downs - 2, 0, -1))

    def width(self, block: int) -> int:
        """Channels that the encoder's block ``block`` puts out."""
        return self.ngf * min(1 << block, MAX_WIDTH)

    def channels(self, block: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """What the convolutions of a block read and put out: the encoder's, and the decoder's."""
        inner = self.width(block)
        outer = self.width(block - 1) if block else 0
        joined = 2 * inner if self.skips and block < self.downs - 1 else inner
        return (outer or self.in_channels, inner), (joined, outer or self.out_channels)

    @property
    def bottleneck(self) -> int:
        """Channels of the deepest features, which averaged over their pixels are the embedding."""
        return self.width(self.downs - 1)

    def mask_shapes(
        self, height: int, width: int, blocks: int | None = None
    ) -> list[tuple[int, int, int]]:
        return [(self.width(i - 1), height >> i, width >> i) for i in self.noise_blocks(blocks)]

    @property
    def image_blocks(self) -> tuple[str, ...]:
        return "down.0", "up.0"

    def part_of(self, weight: str) -> Part:
        side, block = weight.split(".")[:2]
        if side == "down":
            return "encoder"
        return "texture" if int(block) < TEXTURE_BLOCKS else "decoder"

    def as_dict(self) -> dict[str, object]:
        """Without the family, as bundles had it before there were others, and without what the
        reference's own U-Nets never have."""
        values = asdict(self)
        return values if self.bias else {k: v for k, v in values.items() if k != "bias"}

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """Of a checkpoint of the reference: blocks within blocks, each the ``model`` of a module in
        the one around it.

        The blocks are sequences. Outermost: down conv, block, ReLU, up conv, tanh. Between: leaky
        ReLU, down conv, norm, block, ReLU, up conv, norm, perhaps dropout. Innermost: leaky ReLU,
        down conv, ReLU, up conv, norm.

        Dropout has no weights, so a checkpoint cannot say whether it was trained with it. Wherever
        there is room for it (more than 5 downs), it is taken to have been, which is the reference's
        default.
        """
        if f"{ROOT}0.weight" not in shapes:
            return None
        modules = _find_modules(shapes)
        ngf, in_channels = _outer_channels(shapes, modules["down.0.conv"])
        _, out_channels = _outer_channels(shapes, modules["up.0.conv"])
        downs = sum(ours.startswith("down.") and ours.endswith(".conv") for ours in modules)
        fields = {
            "in_channels": in_channels, "out_channels": out_channels, "downs": downs, "ngf": ngf,
            "dropout": downs > 5, "bias": _has_outer_biases(shapes, modules),
        }  # fmt: skip
        called = f"a U-Net with {downs} halvings and ngf {ngf}"
        return Layout(modules, fields, frozenset({"up.0.conv"}), called)


def _find_modules(shapes: Shapes) -> dict[str, str]:
    """The reference's name of each of our modules, as far as the nesting of the keys goes."""
    blocks, child = [ROOT], "1.model."
    while any(key.startswith(blocks[-1] + child) for key in shapes):
        blocks.append(blocks[-1] + child)
        child = "3.model."
    last = len(blocks) - 1
    if not MIN_DOWNS <= len(blocks) <= MAX_DOWNS:
        raise LayoutError(
            f"halves the image {format_count(len(blocks), 'time')}; only U-Nets with "
            f"{MIN_DOWNS} to {MAX_DOWNS} halvings can be used"
        )
    modules = {"down.0.conv": f"{ROOT}0", "up.0.conv": f"{ROOT}3"}
    for i in range(1, last):
        modules |= {f"down.{i}.conv": f"{blocks[i]}1", f"down.{i}.norm": f"{blocks[i]}2"}
        modules |= {f"up.{i}.conv": f"{blocks[i]}5", f"up.{i}.norm": f"{blocks[i]}6"}
    modules |= {f"down.{last}.conv": f"{blocks[last]}1"}
    modules |= {f"up.{last}.conv": f"{blocks[last]}3", f"up.{last}.norm": f"{blocks[last]}4"}
    return modules


def _has_outer_biases(shapes: Shapes, modules: dict[str, str]) -> bool:
    """Beside norms with scales; without those all convolutions may have biases."""
    scaled = any(f"{name}.weight" in shapes for key, name in modules.items() if "norm" in key)
    return scaled and f"{modules['down.0.conv']}.bias" in shapes


def _outer_channels(shapes: Shapes, module: str) -> tuple[int, int]:
    key = f"{module}.weight"
    if key not in shapes:
        raise LayoutError(f"{key!r} is missing; it is cut short, get it again")
    shape = shapes[key]
    if len(shape) != 4 or shape[2:] != KERNEL:
        raise LayoutError(f"{key!r} has the shape {shape}, no 4x4 convolution's")
    return shape[0], shape[1]
