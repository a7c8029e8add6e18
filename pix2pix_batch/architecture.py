"""What a generator is made of, apart from its weights. Needs no torch."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, get_args

Norm = Literal["batch-statistics", "running-statistics", "instance", "none"]
"""How activations are normalised at inference.

``batch-statistics``
    trained with batch norm; run with each image's own statistics and the trained scale and
    shift. This is what the paper and the reference code do at batch 1 (section 3.3).
``running-statistics``
    trained with batch norm; run with the running averages, which fold into the convolutions.
``instance``
    instance norm without scale and shift; the convolutions carry biases.
``none``
    no norm; the convolutions carry biases.
"""

MIN_DOWNS, MAX_DOWNS = 5, 10
MAX_WIDTH = 8  # section 6.1.1: C64-C128-C256-C512-C512-...: the width stops at 8 * ngf


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a :class:`UNet`.

    ``downs``: halvings of the image (5 to 10); ``ngf``: filters of the first layer;
    ``dropout``: whether the inner decoder blocks take dropout noise; ``skips``: whether decoder
    blocks see the encoder's features (without, it is section 4.3's "encoder-decoder").
    """

    in_channels: int = 3
    out_channels: int = 3
    downs: int = 8
    ngf: int = 64
    norm: Norm = "batch-statistics"
    dropout: bool = True
    skips: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (
            ("in_channels", 1, 64),
            ("out_channels", 1, 64),
            ("downs", MIN_DOWNS, MAX_DOWNS),
            ("ngf", 1, 1024),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        if self.norm not in get_args(Norm):
            raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, not {self.norm!r}")
        for name in ("dropout", "skips"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}")

    @property
    def multiple(self) -> int:
        """Image sides must be a multiple of this: ``2 ** downs``."""
        return 1 << self.downs

    @property
    def conv_bias(self) -> bool:
        """Whether normed convolutions have a bias (with batch norm the shift makes it idle)."""
        return self.norm in ("instance", "none")

    @property
    def dropout_blocks(self) -> tuple[int, ...]:
        """The decoder blocks with dropout, innermost first: ``downs - 5`` of them.

        Block ``i`` works between the resolutions ``size / 2**(i+1)`` and ``size / 2**i``. The
        reference implementation puts dropout into the full-width blocks but the innermost.
        """
        return tuple(range(self.downs - 2, 3, -1)) if self.dropout else ()

    def noise_blocks(self, count: int | None = None) -> tuple[int, ...]:
        """The ``count`` innermost decoder blocks that can take noise, at most ``downs - 2``; by
        default those that were trained with it."""
        return self.dropout_blocks if count is None else tuple(range(self.downs - 2, 0, -1))[:count]

    def width(self, block: int) -> int:
        """Channels that the encoder's block ``block`` puts out."""
        return self.ngf * min(1 << block, MAX_WIDTH)

    @property
    def bottleneck(self) -> int:
        """Channels of the deepest features, which averaged over their pixels are the embedding."""
        return self.width(self.downs - 1)

    def mask_shapes(
        self, height: int, width: int, blocks: int | None = None
    ) -> list[tuple[int, int, int]]:
        """``(C, H, W)`` of each mask for an image of ``height`` x ``width``, one for each of
        :meth:`noise_blocks`."""
        return [(self.width(i - 1), height >> i, width >> i) for i in self.noise_blocks(blocks)]

    def as_dict(self) -> dict[str, object]:
        return asdict(self)
