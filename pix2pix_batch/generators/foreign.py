"""What a checkpoint is that holds no generator of a known family, by its keys and shapes."""

from __future__ import annotations

import re

from pix2pix_batch.generators.description import Shapes

START = r"(?:^|\.)"
"""Of a part of a key."""

KINDS = (
    (
        "a diffusion model's U-Net",
        START + r"(?:(?:time_embed|time_embedding|time_mlp|temb)\b|middle_block\.\d)",
    ),
    ("a diffusion transformer", START + r"(?:t_embedder|x_embedder)\b"),
    ("a diffusion model's autoencoder", START + r"(?:post_)?quant_conv\."),
    ("an upscaler (ESRGAN's layout)", START + r"(?:RRDB_trunk\b|rdb1\.|RDB1\.)"),
    ("an upscaler (SwinIR's layout)", r"residual_group\.blocks\.\d"),
    ("an upscaler", START + r"(?:upsample|upsampler|upconv\d|upconv|tail)\b"),
    ("a U-Net for segmentation", START + r"(?:outc|inc\.double_conv|segmentation_head)\."),
    ("a style-based generator (StyleGAN's layout)", START + r"(?:mapping|style)\.(?:fc)?\d"),
    ("a transformer", START + r"(?:attn|attention|self_attn|self_attention)\."),
    ("a perceptual metric", START + r"lin0\.model\.\d"),
    ("a ResNet generator with other layers than those known", r"\.conv_block\."),
)
"""What is called so where a key has the pattern, tried in this order: what has most of its own
comes first."""

CLASSES = re.compile(START + r"(?:fc|head|classifier(?:\.\d+)?|last_linear)\.weight$")
"""A classifier's last matrix."""

FEW_CONVOLUTIONS = 24
"""A discriminator of several scales has no more."""


def name_kind(shapes: Shapes) -> str:
    """What the checkpoint is, as far as its keys say, with one of them."""
    first = f"(its first key is {min(shapes)!r})"
    called = next(
        (called for called, pattern in KINDS if any(re.search(pattern, key) for key in shapes)), ""
    )
    if not called and any(CLASSES.search(key) and len(shapes[key]) == 2 for key in shapes):
        called = "a classifier"
    if not called and _is_discriminator(shapes):
        called = "a discriminator"
    if called:
        return f"is {called}, no generator that is known {first}"
    return f"holds no pix2pix generator that is known {first}"


def _is_discriminator(shapes: Shapes) -> bool:
    """Few convolutions and nothing else with weights, the last to one channel: what it thinks of
    each patch."""
    kernels = [shape for shape in shapes.values() if len(shape) == 4]
    if not 1 < len(kernels) <= FEW_CONVOLUTIONS or any(len(s) == 2 for s in shapes.values()):
        return False
    sides = {kernel[2:] for kernel in kernels}
    return sides <= {(4, 4), (3, 3), (1, 1)} and any(kernel[0] == 1 for kernel in kernels)
