"""The keys of a recipe, their defaults, and what of them goes together."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pix2pix_batch.generators import Architecture, Description, GlobalGenerator, Norm, ResNet
from pix2pix_batch.generators import resnet as resnets
from pix2pix_batch.generators.residual import MAX_BLOCKS
from pix2pix_batch.generators.unet import MAX_DOWNS, MIN_DOWNS
from pix2pix_batch.train.discriminator import RECEPTIVE_FIELDS
from pix2pix_batch.train.mosaic_recipe import Colour, Fraction, Model, Mosaic
from pix2pix_batch.train.range_recipe import RangeRecipe
from pix2pix_batch.value_ranges import ValueRange, eight_bits

Channels = Annotated[int, Field(ge=1, le=64)]

Label = Annotated[str, BeforeValidator(lambda key: str(key) if type(key) is int else key)]
"""A label's name; in YAML, one that is a number needs no quotes."""

PICTURES = (1, 3, 4)
"""The channels that pictures may have; other samples are rasters'."""


# The keys of a recipe.
class Recipe(Model):
    """How to train one domain. Every key but ``name`` has the paper's or the reference's value.

    Sections are those of Isola et al. 2017 (arXiv 1611.07004).
    """

    name: str = Field(min_length=1, pattern=r"^[^/\\]+$")
    source_domain: str = ""
    target_domain: str = ""
    data_source: str = ""
    license: str = ""

    # The data. The shared jitter of section 6.2: resize to load_size, crop to size, mirror.
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    size: int = Field(256, ge=32, le=4096)
    load_size: int | None = Field(None, ge=32, le=8192)
    flip: bool = True
    fit: Literal["resize", "tile"] = "resize"
    in_channels: Channels = 3
    out_channels: Channels = 3
    input_range: RangeRecipe | None = None
    output_range: RangeRecipe | None = None
    val_fraction: Fraction = 0.1
    mosaic: Mosaic | None = None
    palette: dict[Label, Colour] | None = None

    # The generator, section 6.1.1.
    generator: Literal["unet", "resnet", "pix2pixhd-global"] = "unet"
    downs: int | None = Field(None, ge=1, le=MAX_DOWNS)
    blocks: int = Field(9, ge=1, le=MAX_BLOCKS)
    ngf: int = Field(64, ge=1, le=1024)
    norm: Norm = "batch-statistics"
    skips: bool = True
    dropout: bool = True
    upsample: Literal["transposed", "resize", "smooth", "even"] = "transposed"

    # The discriminator, section 6.1.2.
    ndf: int = Field(64, ge=1, le=1024)
    patch: int = 70
    disc_norm: Literal["batch", "instance", "none"] = "batch"
    spectral_norm: bool = False
    conditional: bool = True
    scales: int = Field(1, ge=1, le=4)

    # The objective, section 3.1.
    gan_mode: Literal["vanilla", "lsgan", "hinge", "wgangp"] = "vanilla"
    lambda_gan: float = Field(1.0, ge=0)
    lambda_l1: float = Field(100.0, ge=0)
    lambda_features: float = Field(0.0, ge=0)
    lambda_perceptual: float = Field(0.0, ge=0)
    lambda_texture: float = Field(0.0, ge=0)
    lambda_grid: float = Field(0.0, ge=0)
    lambda_patches: float = Field(0.0, ge=0)
    l1_pixels: int = Field(1, ge=1, le=4096)

    # Going on from another model.
    init: str = ""
    train_blocks: int | None = Field(None, ge=1)
    freeze_blocks: int | None = Field(None, ge=1)

    # The optimisation, section 3.3 and 6.2.
    epochs: float = Field(200, gt=0)
    decay_epochs: float | None = Field(None, ge=0)
    batch_size: int = Field(1, ge=1)
    accumulate: int = Field(1, ge=1)
    lr: float = Field(2e-4, gt=0, le=1)
    lr_d: float | None = Field(None, gt=0, le=1)
    beta1: float = Field(0.5, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    ema: float = Field(0.0, ge=0, lt=1)
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    seed: int = Field(0, ge=0, lt=2**63)

    @model_validator(mode="before")
    @classmethod
    def _keep_scale(cls, values: Any) -> Any:
        """Rasters are cut at their own scale, unless they are to be resized."""
        if isinstance(values, dict) and "fit" not in values and values.get("load_size") is None:
            channels = values.get("in_channels", 3), values.get("out_channels", 3)
            ranges = values.get("input_range"), values.get("output_range")
            if any(ranges) or any(c not in PICTURES for c in channels):
                return values | {"fit": "tile"}
        return values

    @model_validator(mode="after")
    def _whole(self) -> Recipe:
        if self.patch not in RECEPTIVE_FIELDS:
            known = ", ".join(map(str, RECEPTIVE_FIELDS))
            raise ValueError(f"patch: must be one of {known}, not {self.patch}")
        least = 1 if self.patch == 1 else 3 << RECEPTIVE_FIELDS[self.patch]
        if self.size >> (self.scales - 1) < least and self.lambda_gan:
            raise ValueError(
                f"patch: a patch of {self.patch} needs images of {least << (self.scales - 1)} "
                f"pixels, and size is {self.size}; set a smaller patch"
            )
        if self.lambda_features and not self.lambda_gan:
            raise ValueError("lambda_features: needs a discriminator; set lambda_gan above 0")
        if self.lambda_perceptual and self.out_channels not in (1, 3):
            raise ValueError(
                f"lambda_perceptual: VGG-19 takes 3 channels, and out_channels is "
                f"{self.out_channels}; set it to 0"
            )
        if self.scales > 1 and self.gan_mode == "wgangp":
            raise ValueError("scales: wgangp's penalty is of one discriminator; set scales to 1")
        if self.lambda_gan == 0 and self.lambda_l1 == 0:
            raise ValueError("lambda_gan and lambda_l1: one of them must be above 0")
        if self.gan_mode == "wgangp" and self.disc_norm == "batch" and self.lambda_gan:
            raise ValueError(
                "disc_norm: the gradient penalty of wgangp is each image's own, which batch norm "
                "mixes; set disc_norm to instance or none"
            )
        self._require_blocks()
        if self.size % self.l1_pixels:  # what fills no square would not be learnt
            raise ValueError(f"l1_pixels: {self.l1_pixels} does not divide size, {self.size}")
        if self.load_size is not None and self.load_size < self.size:
            raise ValueError(f"load_size: {self.load_size} is below size, {self.size}")
        if self.decay_epochs is not None and self.decay_epochs > self.epochs:
            raise ValueError(f"decay_epochs: {self.decay_epochs} is above epochs, {self.epochs}")
        self._require_ranges()
        if self.mosaic is not None and (self.in_channels, self.out_channels) != (3, 3):
            raise ValueError("mosaic: mosaics have 3 channels; leave in_channels and out_channels")
        if self.generator == "unet":
            if self.downs is not None and self.downs < MIN_DOWNS:
                raise ValueError(f"downs: a U-Net has {MIN_DOWNS} at least, not {self.downs}")
            if self.size % self.architecture.multiple:
                raise ValueError(_wrong_size(self.size, self.downs))
            if (self.freeze_blocks or 0) >= (most := self.architecture.multiple.bit_length() - 1):
                raise ValueError(
                    f"freeze_blocks: of {most} blocks {most - 1} can stay, not {self.freeze_blocks}"
                )
        else:
            self._require_residual()
        return self

    def _require_ranges(self) -> None:
        """Raises ``ValueError`` for ranges of values that cannot be."""
        for side, channels in (("input", self.in_channels), ("output", self.out_channels)):
            range_recipe: RangeRecipe | None = getattr(self, f"{side}_range")
            if range_recipe is None:
                continue
            try:
                range_recipe.require_sound(channels)
            except ValueError as error:
                raise ValueError(f"{side}_range: {error}") from error
            if self.mosaic is not None:
                raise ValueError(f"{side}_range: mosaics have 8 bits; leave it out")
        if self.palette and not self.bare_ranges[1].is_picture:
            raise ValueError("palette: is of pictures of 8 bits; leave out output_range")
        names: dict[Colour, str] = {}
        for name, colour in (self.palette or {}).items():
            if (other := names.setdefault(colour, name)) != name:
                raise ValueError(f"palette: {other} and {name} have the same colour")

    @property
    def bare_ranges(self) -> tuple[ValueRange, ValueRange]:
        """The ranges of inputs and outputs, as far as they are known before any file is read
        (:meth:`RangeRecipe.bare_range`); those of pictures are known."""
        first, second = (
            eight_bits(channels) if range_recipe is None else range_recipe.bare_range(channels)
            for range_recipe, channels in (
                (self.input_range, self.in_channels),
                (self.output_range, self.out_channels),
            )
        )
        return first, second

    @property
    def shown_bands(self) -> tuple[tuple[int, ...] | None, tuple[int, ...] | None]:
        """The indices of the bands of inputs and outputs that are to be shown; ``None`` where that
        is left open."""
        first, second = (
            None
            if range_recipe is None or range_recipe.show is None
            else tuple(bare.find_band(str(word)) for word in range_recipe.show)
            for range_recipe, bare in zip(
                (self.input_range, self.output_range), self.bare_ranges, strict=True
            )
        )
        return first, second

    @property
    def takes_rasters(self) -> bool:
        """Whether one side is no pictures of 8 bits."""
        return not all(side.is_picture for side in self.bare_ranges)

    @property
    def keeps_norms(self) -> bool:
        """Whether norms run as at inference: what only goes on from another model keeps that
        model's statistics."""
        return (self.train_blocks, self.freeze_blocks) != (None, None)

    def _require_blocks(self) -> None:
        """Raises ``ValueError`` for blocks that cannot be told apart from the others."""
        for key in ("train_blocks", "freeze_blocks"):
            if getattr(self, key) is not None and not self.init:
                raise ValueError(f"{key}: needs init, the model whose other blocks stay")
        if self.train_blocks is not None and self.freeze_blocks is not None:
            raise ValueError("freeze_blocks: is the opposite of train_blocks; leave one out")

    def _require_residual(self) -> None:
        """Raises ``ValueError`` for what a generator with residual blocks does not have."""
        if not self.skips or self.keeps_norms:
            blocks = "freeze_blocks" if self.train_blocks is None else "train_blocks"
            key = blocks if self.skips else "skips"
            raise ValueError(f"{key}: is a U-Net's; leave it out with generator {self.generator}")
        known = ("transposed", "resize") if self.generator == "resnet" else ("transposed",)
        if self.upsample not in known:
            raise ValueError(
                f"upsample: a {self.generator} has {' or '.join(known)}, not {self.upsample!r}"
            )
        if self.generator == "resnet" and self.downs not in (None, resnets.DOWNS):
            raise ValueError(
                f"downs: a resnet has {resnets.DOWNS}, not {self.downs}; leave it out, or set "
                "generator to pix2pixhd-global, a ResNet of any depth"
            )
        self.architecture.require_side(self.size, "size")

    @property
    def architecture(self) -> Description:
        if self.generator == "unet":
            downs = self.downs or most_downs(self.size) or MIN_DOWNS
            return Architecture(
                self.in_channels, self.out_channels, downs, self.ngf, self.norm, self.dropout,
                self.skips,
            )  # fmt: skip
        values: dict[str, Any] = {
            "in_channels": self.in_channels, "out_channels": self.out_channels,
            "blocks": self.blocks, "ngf": self.ngf, "norm": self.norm, "dropout": self.dropout,
        }  # fmt: skip
        if self.generator == "resnet":
            return ResNet(
                **values, upsample="nearest" if self.upsample == "resize" else "transposed"
            )
        if self.downs is not None:
            values["downs"] = self.downs
        return GlobalGenerator(**values)

    @property
    def side_channels(self) -> tuple[int, int]:
        """The channels of A and of B."""
        channels = self.in_channels, self.out_channels
        return channels[::-1] if self.direction == "BtoA" else channels

    @property
    def resize_side(self) -> int:
        """The side that images are resized to before cropping: 286 for 256 (section 6.2)."""
        return self.load_size or round(self.size * 286 / 256)

    @property
    def decay(self) -> float:
        """The epochs at the end over which the learning rate falls to zero: half of all."""
        return self.epochs / 2 if self.decay_epochs is None else self.decay_epochs

    @property
    def losses(self) -> tuple[str, ...]:
        """The names of the losses that a run logs: ``d``, D's own, if there is a GAN, and those of
        G's terms that have a weight, in the order in which they are added up."""
        terms = ("gan", "l1", "features", "texture", "grid", "patches", "perceptual")
        weighted = tuple(name for name in terms if getattr(self, f"lambda_{name}"))
        return ("d", *weighted) if self.lambda_gan else weighted

    def as_dict(self) -> dict[str, Any]:
        values = self.model_dump(mode="json")
        for side in ("input_range", "output_range"):
            if values[side] is None:  # so that what has none is as it always was
                del values[side]
            else:
                values[side] = getattr(self, side).model_dump(mode="json", exclude_defaults=True)
        return values


def most_downs(size: int) -> int | None:
    """How often a side can be halved, if the generator's least number of times."""
    possible = [n for n in range(MIN_DOWNS, MAX_DOWNS + 1) if size % (1 << n) == 0]
    return max(possible, default=None)


def _wrong_size(size: int, downs: int | None) -> str:
    """``size`` cannot be halved so often; the next ones that can."""
    least = 1 << (downs or MIN_DOWNS)
    below = size // least * least
    sizes = " or ".join(f"size={side}" for side in (below, below + least) if side)
    if downs is None:
        return (
            f"size: {size} is no multiple of {least}, which the least {MIN_DOWNS} halvings (downs) "
            f"need; set {sizes}"
        )
    most = most_downs(size)
    other = f", or downs={most}" if most else ""
    return (
        f"size: {size} is no multiple of {least}, which {downs} halvings (downs) need; set "
        f"{sizes}{other}"
    )
