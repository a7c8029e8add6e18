"""The memory that an engine takes, reckoned from what its generator is made of. Needs no torch:
how many workers fit is reckoned before it is imported."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pix2pix_batch.generators.description import Description
from pix2pix_batch.generators.layers import Convolution, Join, LayeredDescription, Resample, Sized
from pix2pix_batch.generators.unet import Architecture
from pix2pix_batch.inference import convolution_rule as rule
from pix2pix_batch.inference.feature_plan import FeaturePlan, Size, Way, choose_way, plan_features
from pix2pix_batch.inference.winograd_tiling import (
    BLOCKS,
    FEW_OUTPUTS,
    OUTPUTS,
    tile,
    tile_few,
)

STANDARD_BATCH = 4
"""Images of 256x256 that a batch is taken to have where the job leaves it open: at least as many as
:func:`pix2pix_batch.inference.engine.default_batch_size` says on the CPU, without importing
PyTorch."""

NUMBER = 4
"""Bytes of one number in float32."""

WHOLE_MEMORY = 5 << 29
"""Bytes, 2.5 GiB, that an image may take (:func:`image_memory`) to run as a whole, a larger one
being cut into tiles: a ResNet of 64 filters at 1024x2048 takes them, as does pix2pixHD's global
generator at its own size. The same everywhere, since the outputs' bytes depend on it."""

KEPT_BY_LIBRARIES = 32 << 20
"""Bytes that an engine of layers takes besides: what oneDNN and MKL set aside at their first use,
and holes between blocks of many sizes that the C library keeps. 20 to 50 MB were seen
(``tests/pix2pix_batch/inference/test_memory.py`` tries it)."""

MOST_TRANSFORMED = min(rule.ENOUGH_CHANNELS, key=rule.ENOUGH_CHANNELS.__getitem__)
"""The instruction set with which the most layers are Winograd convolutions. Which one this
CPU has, only PyTorch tells."""


def engine_memory(description: Description, size: int | Size, batch_size: int | None = None) -> int:
    """Reckon the memory that the CPU's engine holds while it works, in fp32, which takes the most.

    Args:
        description: The generator's.
        size: The images' side, or their height and width.
        batch_size: Images in a batch; by default as many as the CPU takes of that size.

    Returns:
        Bytes.

    Raises:
        TypeError: No engine runs such a network.
    """
    size = (size, size) if isinstance(size, int) else size
    if batch_size is None:
        # As default_batch_size has it: the same number of pixels whatever the images' size.
        batch_size = max(1, STANDARD_BATCH * 256 * 256 // math.prod(size))
    if isinstance(description, Architecture):
        return _unet_memory(description, size, batch_size)
    return _layered_memory(_require_layers(description), size, batch_size)


def gpu_memory(description: Description, size: int, batch_size: int) -> tuple[int, int]:
    """Reckon the memory of a generator on a GPU, in float32.

    Args:
        description: The generator's.
        size: Side of the images in pixels.
        batch_size: Images in a batch.

    Returns:
        Bytes of the weights, and of the features of a batch.

    Raises:
        TypeError: No engine runs such a network.
    """
    if isinstance(description, Architecture):
        features = _unet_features(description, (size, size))
        return NUMBER * sum(count_weights(description)), NUMBER * batch_size * features
    layered = _require_layers(description)
    features = _count_features(layered, (size, size))
    return NUMBER * count_layered_weights(layered), NUMBER * batch_size * features


def _require_layers(description: Description) -> LayeredDescription:
    if not isinstance(description, LayeredDescription):
        raise TypeError(f"no engine runs a {type(description).__name__}")
    return description


# U-Nets


class ConvolutionShape(NamedTuple):
    """A 4x4 convolution of stride 2, or a transposed one. ``halvings``: of the image, to its
    input."""

    inputs: int
    outputs: int
    halvings: int
    transposed: bool

    def input_size(self, size: Size) -> Size:
        """Height and width of what it reads, for images of ``size``."""
        return size[0] >> self.halvings, size[1] >> self.halvings

    def on(self, size: Size) -> tuple[int, int, Size, bool, str]:
        """What the rule asks for, on the CPU where the most layers are Winograd convolutions."""
        source = self.input_size(size)
        return self.inputs, self.outputs, source, self.transposed, MOST_TRANSFORMED


def list_layers(architecture: Architecture) -> list[ConvolutionShape]:
    """All convolutions: each block's, and its counterpart's in the decoder."""
    found = []
    for i in range(architecture.downs):
        down, up = architecture.channels(i)
        found += [ConvolutionShape(*down, i, False), ConvolutionShape(*up, i + 1, True)]
    return found


def count_weights(architecture: Architecture) -> list[int]:
    """How many weights each convolution has: 4x4, from and to as many channels as its block."""
    return [16 * layer.inputs * layer.outputs for layer in list_layers(architecture)]


def count_held_weights(layer: ConvolutionShape, size: Size) -> int:
    """Numbers that a layer holds in place of its weights, for images of ``size``."""
    channels = layer.inputs, layer.outputs
    kernels = [
        (rule.transformed_weights(*channels, outputs), most)
        for outputs, most in rule.list_tiles(*layer.on(size)).items()
    ]
    return _count_transformed(16 * math.prod(channels), kernels)


def _count_transformed(plain: int, kernels: Sequence[tuple[int, int]]) -> int:
    """``kernels``: the numbers of each that may take the weights' place, and the most bytes that it
    may take. One too large counts as the largest that is taken, so that a wider generator is never
    reckoned to take less."""
    return max([plain, *(min(numbers, most // NUMBER) for numbers, most in kernels)])


def _unet_memory(architecture: Architecture, size: Size, batch_size: int) -> int:
    """The weights once, packed, or transformed where that is faster with the instruction set that
    has the most layers so; the buffers of the convolutions that are matrix products; of each image
    its features."""
    a = architecture
    held = sum(count_held_weights(layer, size) for layer in list_layers(a))
    images = batch_size * _unet_features(a, size)
    # The largest layer's weights once more: while they are laid out anew, both layouts exist.
    return NUMBER * (held + max(count_weights(a)) + _count_workspace(a, size, batch_size) + images)


def _unet_features(architecture: Architecture, size: Size) -> int:
    """Numbers in an image's features: what the encoder's blocks put out, once as it is and twice in
    the buffers that the decoder reads; a full image a few times over."""
    a = architecture
    features = sum(a.width(i) * (size[0] >> (i + 1)) * (size[1] >> (i + 1)) for i in range(a.downs))
    return 3 * features + math.prod(size) * (2 * a.in_channels + 4 * a.out_channels)


def _count_workspace(architecture: Architecture, size: Size, batch_size: int) -> int:
    """Numbers in the buffers that the layers use in turn, each as large as the largest wish."""
    largest: Counter[str] = Counter()
    for layer in list_layers(architecture):
        source, shape = layer.input_size(size), layer.on(size)
        if rule.is_thin(layer.outputs, layer.transposed):
            largest |= Counter(rule.thin_buffers(layer.outputs, source))
            continue
        # Of each way that its kernel's size may decide for, so that a wider generator is never
        # reckoned to take less.
        tiles = rule.list_tiles(*shape)
        if OUTPUTS in tiles:
            tiling = tile((batch_size, *source), layer.transposed, BLOCKS[MOST_TRANSFORMED])
            shapes = tiling.buffers(tiling.block_rows, layer.inputs, layer.outputs)
            largest |= _count_numbers(shapes)
        if FEW_OUTPUTS in tiles:
            few = tile_few((batch_size, *source), layer.transposed)
            largest |= _count_numbers(few.buffers(layer.inputs, layer.outputs))
        if rule.is_patches(*shape):
            largest |= _count_numbers(_list_patch_buffers(layer, source, batch_size))
    return largest.total()


def _list_patch_buffers(
    layer: ConvolutionShape, source: Size, batch_size: int
) -> dict[str, tuple[int, ...]]:
    """The shape of each buffer of a product with patches, and of what it makes."""
    pixels = math.prod(source) // (1 if layer.transposed else 4)
    images = rule.images_a_product(batch_size, pixels)
    made = images, pixels, (16 if layer.transposed else 1) * layer.outputs
    shapes = rule.patch_buffers(
        images, source, layer.inputs, layer.outputs, transposed=layer.transposed
    )
    return shapes | {"products": made}


def _count_numbers(shapes: Mapping[str, tuple[int, ...]]) -> Counter[str]:
    return Counter({name: math.prod(shape) for name, shape in shapes.items()})


# Networks that are described by their layers


def count_layered_weights(description: LayeredDescription) -> int:
    """Numbers that the convolutions' weights are."""
    return sum(
        _count_kernel(layer) for layer in description.layers if isinstance(layer, Convolution)
    )


def _count_kernel(layer: Convolution) -> int:
    return layer.inputs * layer.outputs * layer.kernel**2


def _layered_memory(description: LayeredDescription, size: Size, batch_size: int) -> int:
    """The weights, transformed where that is faster on any CPU, and once more the largest, while it
    is laid out anew; one image's features, since images run one after the other; the batch's bytes
    and levels."""
    weights, kernel = 0, 0
    for layer, _, after in description.measure_layers(*size):
        if isinstance(layer, Convolution):
            plain, way = _count_kernel(layer), _choose_widest(layer, after)
            points = rule.SMALL_POINTS**2 * layer.inputs * layer.outputs
            kernels = [(points, rule.LARGEST_KERNEL)] if way == "winograd" else []
            weights += _count_transformed(plain, kernels)
            kernel = max(kernel, plain)
    pixels = math.prod(size) * (description.in_channels + 2 * description.out_channels)
    held = NUMBER * (weights + kernel + batch_size * pixels) + KEPT_BY_LIBRARIES
    return held + image_memory(description, size)


def image_memory(description: LayeredDescription, size: Size) -> int:
    """Bytes that an image of that height and width takes while it runs on the CPU, in fp32: its
    features and the buffers of the convolutions that are matrix products."""
    largest = Counter[str]()
    for layer, _, after in description.measure_layers(*size):
        if isinstance(layer, Convolution):
            largest |= _count_buffers(layer, after, _choose_widest(layer, after))
    return NUMBER * (largest.total() + _count_features(description, size))


def _choose_widest(layer: Convolution, after: Size) -> Way:
    """As on the CPU where most are matrix products, whatever memory their kernels take: so a wider
    generator is never reckoned to take less."""
    if rule.has_small_winograds_work(
        layer.kernel, layer.stride, layer.inputs, layer.outputs, after, transposed=layer.transposed
    ):
        return "winograd"
    return choose_way(layer, after)


def _count_buffers(layer: Convolution, after: Size, way: Way) -> Counter[str]:
    """Numbers in each buffer of a convolution that is matrix products."""
    if way == "winograd":
        tiles = rule.small_tiles(after)
        return Counter(rule.small_workspace(tiles, layer.inputs, layer.outputs))
    if way == "thin":
        rows = rule.block_rows(after[0], after[1] + layer.kernel - 1)
        shapes = rule.thin_plain_buffers(layer.outputs, layer.kernel, rows, after[1])
        return _count_numbers(shapes)
    return Counter()


def _count_features(description: LayeredDescription, size: Size) -> int:
    """Numbers in the buffers of an image's features, and what the layer that works with the most
    has besides: its result before the norm, and its input, where it is held otherwise than the
    layer reads it."""
    plan = plan_features(description, size, _choose_widest)
    held = sum(room.channels * math.prod(room.place.padded) for room in plan.rooms)
    return held + max(_count_working(plan, sized) for sized in description.measure_layers(*size))


def _count_working(plan: FeaturePlan, sized: Sized) -> int:
    layer = sized.layer
    made, copied = layer.outputs * math.prod(sized.after), 0
    if isinstance(layer, Resample):  # the blur mirrors a pixel around what it reads
        copied = layer.channels * math.prod(sized.before) if layer.kind == "blur" else 0
    elif isinstance(layer, Join):
        made = 0
    elif plan.room(layer.source).place != plan.input_places[layer.name]:
        copied = layer.inputs * math.prod(plan.input_places[layer.name].padded)
    return made + copied
