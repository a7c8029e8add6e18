"""The U-Net of TensorFlow's pix2pix tutorial, which Keras saves, and of its CycleGAN tutorial.

As PyTorch-GAN's (:mod:`pix2pix_batch.generators.postactivation_unet`) its decoder sees the
encoder's features after their activation; but the bottleneck is normed too, leaky ReLUs have
Keras's slope, dropout is in the decoder alone, and the last layer is a transposed convolution.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pix2pix_batch.generators.description import Layout, LayoutError, Shapes
from pix2pix_batch.generators.layers import Convolution
from pix2pix_batch.generators.postactivation_unet import MAX_DOWNS, MIN_DOWNS, PostActivationUNet
from pix2pix_batch.text import format_count

NOISY_UPS = 3
"""The decoder's innermost blocks, which have dropout."""
EMBEDDED = 3
"""The encoder's block whose features are embedded, from the innermost on: images of 256 pixels have
4x4 there. Further in, norms by an image's own statistics leave next to nothing of it, and at 1x1
nothing."""
KERNEL = (4, 4)
SLOPE = "/leaky_relu.slope"
"""The key under which a file stores the leaky ReLU's slope."""


@dataclass(frozen=True)
class TensorFlowUNet(PostActivationUNet):
    """``dropout``: whether the decoder's three innermost blocks were trained with it;
    ``encoder_slope``: of the encoder's leaky ReLUs; ``outer_bias``: whether its first convolution
    has a bias whatever the norm is."""

    family: ClassVar[str] = "unet-tensorflow"
    title: ClassVar[str] = "U-Net of TensorFlow's tutorial"
    known_as: ClassVar[str] = (
        "TensorFlow's pix2pix tutorial's U-Net (.keras, .h5, or a TensorFlow 2 checkpoint)"
    )

    encoder_slope: float = 0.3
    outer_bias: bool = False

    def __post_init__(self) -> None:
        self.require_sound({"downs": (MIN_DOWNS, MAX_DOWNS), "ngf": (1, 1024)}, ("outer_bias",))
        slope = self.encoder_slope
        if not isinstance(slope, float) or not 0 <= slope <= 1:
            raise ValueError(f"encoder_slope must be a number from 0 to 1, not {slope!r}")

    @property
    def embedding_source(self) -> str:
        return f"down.{self.downs - EMBEDDED}"

    @property
    def normed_downs(self) -> range:
        return range(1, self.downs)

    @property
    def noisy_blocks(self) -> tuple[str, ...]:
        ups = range(self.downs - 1, max(0, self.downs - 1 - NOISY_UPS), -1)
        return tuple(f"up.{i}" for i in ups)

    def _last(self) -> Iterator[Convolution]:
        yield Convolution(
            "last", "up.1.joined", 2 * self.ngf, self.out_channels, 4, stride=2, transposed=True,
            normed=False, activation="tanh",
        )  # fmt: skip

    @classmethod
    def read_layout(cls, shapes: Shapes) -> Layout | None:
        """Recognise a Keras file by the order of its layers."""
        found = find_layers(shapes)
        if found is None:
            return None
        downs, ups, norms = found
        count, ngf = len(downs), shapes[f"{downs[0]}.weight"][0]
        called = f"a U-Net of TensorFlow's tutorial with {count} halvings and ngf {ngf}"
        if not MIN_DOWNS <= count <= MAX_DOWNS:
            raise LayoutError(
                f"halves the image {count} times; only U-Nets of TensorFlow's tutorial with "
                f"{MIN_DOWNS} to {MAX_DOWNS} halvings can be used"
            )
        if len(norms) not in (0, 2 * count - 2):
            raise LayoutError(
                f"has {format_count(len(norms), 'norm')}; {called} has {2 * count - 2} or none; "
                "one without a norm at the bottleneck, as Machine Learning Mastery's, is another "
                "network that is not known"
            )
        blocks = [f"down.{i}" for i in range(count)]
        blocks += [f"up.{i}" for i in range(count - 1, 0, -1)] + ["last"]
        modules = {f"{name}.conv": conv for name, conv in zip(blocks, downs + ups, strict=True)}
        normed = [name for name in blocks if name not in ("down.0", "last")]
        norm_keys = norms or [f"{modules[f'{name}.conv']}/norm" for name in normed]
        modules |= {f"{name}.norm": norm for name, norm in zip(normed, norm_keys, strict=True)}
        fields = {
            "in_channels": shapes[f"{downs[0]}.weight"][1],
            "out_channels": shapes[f"{ups[-1]}.weight"][1],
            "downs": count, "ngf": ngf, "dropout": True,
            "outer_bias": bool(norms) and f"{downs[0]}.bias" in shapes,
        }  # fmt: skip
        settings = {"encoder_slope": SLOPE} if SLOPE in shapes else {}
        return Layout(modules, fields, frozenset({"last.conv"}), called, settings=settings)


def find_layers(shapes: Shapes) -> tuple[list[str], list[str], list[str]] | None:
    """The convolutions that halve, the transposed ones and the norms of a U-Net in a file of
    Keras's (:mod:`pix2pix_batch.keras_files`), in running order; ``None`` where it is no U-Net.

    The last of the transposed ones reads the fewest features, wherever it stands.
    """
    if not shapes or not all(key.startswith("/") for key in shapes):
        return None
    convs = {key.removesuffix(".weight"): shape for key, shape in shapes.items() if len(shape) == 4}
    names = list(convs)
    downs, ups = names[: len(names) // 2], names[len(names) // 2 :]
    if not downs or any(shape[2:] != KERNEL for shape in convs.values()):
        return None
    last = min(reversed(ups), key=lambda up: convs[up][0])
    ups = [up for up in ups if up != last] + [last]
    channels, skip_channels = convs[downs[0]][1], []
    for down in downs:
        if convs[down][1] != channels:
            return None
        channels = convs[down][0]
        skip_channels.append(channels)
    for up, skip in zip(ups, [*skip_channels[-2::-1], 0], strict=len(ups) == len(downs)):
        if convs[up][0] != channels or convs[up][1] != (skip or convs[up][1]):
            return None
        channels = 2 * skip
    norms = (
        key.rpartition(".")[0]
        for key, shape in shapes.items()
        if len(shape) == 1 and key.endswith((".weight", ".running_mean"))
    )
    return downs, ups, list(dict.fromkeys(norms))
