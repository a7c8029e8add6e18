"""What every description of a generator says of it, whatever its family. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pkgutil import resolve_name
from typing import Any, ClassVar, Literal, NamedTuple, get_args

Norm = Literal["batch-statistics", "running-statistics", "instance", "none"]
"""How activations are normalised at inference.

``batch-statistics``
    trained with batch norm; run with each image's own statistics and the trained scale and
    shift. This is what the paper and the reference code do at batch 1 (section 3.3). Instance norm
    with scale and shift is the same.
``running-statistics``
    trained with batch norm; run with the running averages, which fold into the convolutions.
``instance``
    instance norm without scale and shift; the convolutions carry biases.
``none``
    no norm; the convolutions carry biases.
"""

Shapes = Mapping[str, tuple[int, ...]]
"""The shape of each tensor of a checkpoint, by its name there."""

Part = Literal["encoder", "decoder", "texture"]


CHANNELS = (1, 64)
"""That an image may have: the fewest and the most."""


class LayoutError(ValueError):
    """A checkpoint is of a family, but not as the family has it; says what is wrong."""


class Layout(NamedTuple):
    """Where a checkpoint of a family has the weights of a generator.

    ``modules``: the checkpoint's name of each of our modules (``down.0.conv``, ``down.0.norm``).
    ``fields``: those of the description but the norm. ``biased``: our convolutions that have a bias
    whatever the norm is. ``fixed``: tensors that are no weights, and the values they must have, as
    nested lists for one channel. ``normless``: the positions leave no room for norms.
    ``called``: the network with its numbers, for messages. ``norms``: those that it may have, the
    usual one first, where the layout tells and the keys do not. ``enlarged``: our convolutions
    whose kernels are larger, by so many zeros left, right, above and below. ``settings``: fields
    that are tensors of one number in the checkpoint, and their names there.
    """

    modules: Mapping[str, str]
    fields: Mapping[str, Any]
    biased: frozenset[str]
    called: str
    fixed: Mapping[str, Any] = {}
    normless: bool = False
    norms: tuple[Norm, ...] = ()
    enlarged: Mapping[str, tuple[int, int, int, int]] = {}
    settings: Mapping[str, str] = {}


class Description:
    """All that is needed to build a generator, without its weights: a frozen dataclass a family.

    A subclass sets ``family``, the name that bundles and recipes have for it, and its fields, of
    which these four are every family's; it checks them (:meth:`require_sound`).
    """

    family: ClassVar[str]
    title: ClassVar[str]
    """The family's name for people."""
    known_as: ClassVar[str]
    """What of it can be imported, for people: whose checkpoints, made with which option."""
    network: ClassVar[str]
    """Its network's class, ``module:class``. By name, since networks import descriptions, and
    descriptions are read where torch is not."""

    in_channels: int
    out_channels: int
    norm: Norm
    dropout: bool

    @property
    def multiple(self) -> int:
        """Image sides must be a multiple of this."""
        raise NotImplementedError

    @property
    def least_side(self) -> int:
        """Image sides must be at least this."""
        return self.multiple

    @property
    def summary(self) -> str:
        """The network and its numbers in a few words, for people."""
        raise NotImplementedError

    @property
    def bottleneck(self) -> int:
        """Channels of the features whose average over the pixels is the embedding."""
        raise NotImplementedError

    @property
    def dropout_blocks(self) -> tuple[int, ...]:
        """The numbers of the blocks that were trained with dropout, in running order."""
        return self.possible_noise_blocks if self.dropout else ()

    @property
    def possible_noise_blocks(self) -> tuple[int, ...]:
        """The numbers of all blocks that can take noise, the innermost first."""
        return ()

    def noise_blocks(self, count: int | None = None) -> tuple[int, ...]:
        """The ``count`` innermost blocks that can take noise, or as many as there are; by default
        those that were trained with it."""
        return self.dropout_blocks if count is None else self.possible_noise_blocks[:count]

    def mask_shapes(
        self, height: int, width: int, blocks: int | None = None
    ) -> list[tuple[int, int, int]]:
        """``(C, H, W)`` of each mask for an image of ``height`` x ``width``, one for each of
        :meth:`noise_blocks`."""
        raise NotImplementedError

    @property
    def norms_each_image(self) -> bool:
        """Whether norms use an image's own statistics, so that its tiles would differ."""
        return self.norm in ("instance", "batch-statistics")

    @property
    def takes_any_size(self) -> bool:
        """Whether the network does as well at other sizes than it was trained at."""
        return False

    @property
    def default_fit(self) -> str:
        """How images of other sizes are treated best (:data:`pix2pix_batch.bundle.FITS`)."""
        if not self.takes_any_size:
            return "resize"
        return "whole" if self.norms_each_image else "tile"

    @property
    def conv_bias(self) -> bool:
        """Whether normed convolutions have a bias (with batch norm the shift makes it idle)."""
        return self.norm in ("instance", "none")

    @property
    def image_blocks(self) -> tuple[str, ...]:
        """The names of the blocks whose convolutions read the image, and of that which makes it,
        the last."""
        raise NotImplementedError

    def part_of(self, weight: str) -> Part:
        """Which part of the generator a weight belongs to, by its name: the encoder, on which alone
        the embedding depends, the decoder, or what of it draws the finest texture."""
        raise NotImplementedError

    def build(self) -> Any:
        """The network, a :class:`~pix2pix_batch.generators.generator.Generator` with weights yet
        to be set. Imports torch."""
        return resolve_name(self.network)(self)

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """Where a checkpoint has this family's weights; ``None`` where it is of another family.

        Raises :class:`LayoutError` where it is of this family, but not as it should be.
        """
        raise NotImplementedError

    def as_dict(self) -> dict[str, object]:
        """What a bundle's metadata holds."""
        return {"family": self.family, **asdict(self)}  # type: ignore[call-overload]

    def require_sound(
        self, ranges: Mapping[str, tuple[int, int]], flags: tuple[str, ...] = ()
    ) -> None:
        """Raises ``ValueError`` for a number out of its range or no integer, an unknown norm, and
        one of ``flags`` that is neither true nor false. What every family has is checked too."""
        channels = {"in_channels": CHANNELS, "out_channels": CHANNELS}
        for name, (low, high) in (channels | {**ranges}).items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
        if self.norm not in get_args(Norm):
            raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}, not {self.norm!r}")
        for name in ("dropout", *flags):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name} must be true or false, not {getattr(self, name)!r}")

    def require_side(self, side: object, name: str = "image_size") -> None:
        """Raises ``ValueError`` for an image's side that the network does not take."""
        if type(side) is not int or side < 1 or side % self.multiple:
            raise ValueError(f"{name} must be a multiple of {self.multiple}, not {side!r}")
        if side < self.least_side:
            raise ValueError(f"{name} must be at least {self.least_side}, not {side!r}")
