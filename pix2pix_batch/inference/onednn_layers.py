"""A generator that is described by its layers on the CPU: prepacked convolutions, few passes.

Images run one after the other: their layers are large enough to fill a core, instance norm is each
image's own anyway, and so an image's bits depend on nothing but the image, in every precision.

A feature that is read with mirrored or zero pixels around is put where these have their place, so
that nothing is copied to be padded. Instance norm, ReLU and the addition of a residual block are
done on the way there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from pix2pix_batch.generators.generator import NormStatistics, multipliers_by_block
from pix2pix_batch.generators.layers import (
    IMAGE,
    Convolution,
    Join,
    LayeredDescription,
    Resample,
)
from pix2pix_batch.generators.network import LayeredGenerator, pool, resample
from pix2pix_batch.inference import onednn
from pix2pix_batch.inference.feature_plan import (
    Place,
    Room,
    Size,
    Way,
    choose_direct,
    choose_way,
    plan_features,
)
from pix2pix_batch.inference.memory import WHOLE_MEMORY, image_memory
from pix2pix_batch.inference.prepared_layer import PreparedLayer, Step, statistics_of_all
from pix2pix_batch.inference.workspace import Workspace


class Feature:
    """Room for one layer's result: ``whole``, ``(1, C, H, W)`` channels last, with its margin, and
    ``inner``, the image in it."""

    def __init__(self, room: Room, dtype: torch.dtype) -> None:
        channels, size, place = room
        self.place = place
        shape = (1, channels, *place.padded)
        self.whole = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last).zero_()
        begin = place.margin
        self.inner = self.whole[:, :, begin : begin + size[0], begin : begin + size[1]]

    def fill_margin(self) -> None:
        """Mirror the image's rows, then its columns, about its outermost pixels."""
        if not self.place.reflects:
            return
        margin, (height, width) = self.place.margin, self.inner.shape[2:]
        whole, last = self.whole, (margin + height - 1, margin + width - 1)
        # Rows first, over the image's width; the columns then mirror these too, which fills the
        # corners.
        for k in range(1, margin + 1):
            whole[:, :, margin - k] = whole[:, :, margin + k]
            whole[:, :, last[0] + k] = whole[:, :, last[0] - k]
        for k in range(1, margin + 1):
            whole[:, :, :, margin - k] = whole[:, :, :, margin + k]
            whole[:, :, :, last[1] + k] = whole[:, :, :, last[1] - k]


class SizedLayers:
    """The layers, and the buffers of their results, for images of one size."""

    def __init__(
        self,
        architecture: LayeredDescription,
        prepared: Mapping[str, PreparedLayer],
        size: Size,
        dtype: torch.dtype,
    ) -> None:
        """Plan the buffers and make the steps.

        Args:
            architecture: The generator's layers.
            prepared: The convolutions, by the names of their layers.
            size: Height and width of the images.
            dtype: The type that they compute in.
        """
        self.architecture, self.dtype = architecture, dtype
        self.sized = list(architecture.measure_layers(*size))
        plan = plan_features(architecture, size, lambda layer, _: prepared[layer.name].way)
        workspace = Workspace()
        self.steps = [
            Step(prepared[one.layer.name], one, plan.input_places[one.layer.name], workspace)
            if isinstance(one.layer, Convolution)
            else None
            for one in self.sized
        ]
        buffers = [Feature(room, dtype) for room in plan.rooms]
        self.features = {name: buffers[number] for name, number in plan.buffers.items()}

    @property
    def result(self) -> Tensor:
        """The translated image, in a buffer."""
        return self.features[self.sized[-1].layer.name].inner

    def begin(self, x: Tensor) -> None:
        """Take an image."""
        image = self.features[IMAGE]
        image.inner.copy_(x)
        image.fill_margin()

    def convolve(self, place: int) -> Tensor:
        """The layer's convolution, before its norm."""
        step, source = self.steps[place], self.features[self.sized[place].layer.source]
        assert step is not None
        return step.convolve(read_as(source, step.input_place, self.dtype))

    def finish(
        self,
        place: int,
        y: Tensor,
        statistics: tuple[Tensor, Tensor] | None,
        masks: Mapping[int, Tensor],
    ) -> None:
        """Do what follows a layer's convolution, into the layer's buffer.

        Args:
            place: The layer's place among the layers.
            y: What :meth:`convolve` returned for it.
            statistics: Mean and variance of each channel; ``None`` if the layer is not normed by
                them.
            masks: Multipliers, by the number of the noise block.
        """
        step, layer = self.steps[place], self.sized[place].layer
        assert step is not None and isinstance(layer, Convolution)
        feature = self.features[layer.name]
        added = self.features[layer.added].inner if layer.added else None
        mask = None if layer.noise_block is None else masks.get(layer.noise_block)
        step.finish(y, statistics, mask, added, feature.inner)
        feature.fill_margin()

    def rearrange(self, place: int) -> None:
        """A layer without weights."""
        layer = self.sized[place].layer
        feature, source = self.features[layer.name], self.features[layer.source].inner
        if isinstance(layer, Resample):
            feature.inner.copy_(resample(source, layer.kind))
        elif isinstance(layer, Join):
            feature.inner[:, : layer.first].copy_(source)
            feature.inner[:, layer.first :].copy_(self.features[layer.other].inner)
        feature.fill_margin()


def run_together(
    layers: Sequence[SizedLayers],
    images: Sequence[Tensor],
    masks: Mapping[int, Tensor],
    norms: NormStatistics | None = None,
) -> tuple[Tensor, NormStatistics]:
    """Run images that are normed as one, each in buffers of its own, layer by layer.

    The translation of each image is in its last buffer, which the next run replaces.

    Args:
        layers: The layers of each image, all of one size.
        images: The images, ``(1, C, H, W)`` each.
        masks: Multipliers, by the number of the noise block.
        norms: Statistics to norm with in place of the images' own.

    Returns:
        The embedding of the first image, and the statistics that were used.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}
    first, embedding = layers[0], None
    for one, image in zip(layers, images, strict=True):
        one.begin(image)
    for place, (step, sized) in enumerate(zip(first.steps, first.sized, strict=True)):
        name = sized.layer.name
        if step is None:
            for one in layers:
                one.rearrange(place)
        else:
            statistics = None if norms is None else norms.get(name)
            statistics = _run_convolution(layers, place, masks, statistics)
            if statistics is not None:
                found[name] = statistics
        if name == first.architecture.embedding_source:
            embedding = pool(first.features[name].inner)
    assert embedding is not None
    return embedding, found


def _run_convolution(
    layers: Sequence[SizedLayers],
    place: int,
    masks: Mapping[int, Tensor],
    statistics: tuple[Tensor, Tensor] | None,
) -> tuple[Tensor, Tensor] | None:
    """A convolution of all images, and what follows it; the statistics that normed them.

    A function of its own, so that its results are let go of before the next convolution's are made.
    """
    made = [one.convolve(place) for one in layers]
    step = layers[0].steps[place]
    assert step is not None
    if not step.is_normed:
        statistics = None
    elif statistics is None:
        statistics = statistics_of_all(made)
    for one, y in zip(layers, made, strict=True):
        one.finish(place, y, statistics, masks)
    return statistics


def read_as(feature: Feature, input_place: Place, dtype: torch.dtype) -> Tensor:
    """Give a feature the margin that a layer wants.

    Args:
        feature: The feature.
        input_place: How the layer reads it.
        dtype: The type of its numbers.

    Returns:
        The feature with its margin; a copy if it is not held so.
    """
    if feature.place == input_place:
        return feature.whole
    channels, height, width = feature.inner.shape[1:]
    other = Feature(Room(channels, (height, width), input_place), dtype)
    other.inner.copy_(feature.inner)
    other.fill_margin()
    return other.whole


class OneDNNLayers:
    """A :class:`LayeredGenerator` on the CPU, for images of any size that it takes.

    Called like :meth:`LayeredGenerator.translate`; bfloat16 or float32. The weights are laid out
    anew, once for all sizes; the network's own are not kept. The buffers of the sizes that came
    last are kept, as many as take :data:`WHOLE_MEMORY` together.
    """

    def __init__(
        self, net: LayeredGenerator, size: Size, dtype: torch.dtype, *, direct: bool
    ) -> None:
        """Prepare all convolutions of a network.

        Args:
            net: The network in float32, in eval mode.
            size: The images' usual height and width. They decide how each layer runs, also for
                images of other sizes.
            dtype: The type that it computes in.
            direct: Whether no convolution runs as matrix products.
        """
        self.architecture: LayeredDescription = net.architecture
        self.dtype = dtype
        products = dtype == torch.float32 and not direct and bool(onednn.instruction_set())
        choose = choose_way if products else choose_direct
        self.prepared: dict[str, PreparedLayer] = {}
        for layer, before, after in self.architecture.measure_layers(*size):
            if isinstance(layer, Convolution):
                way: Way = choose(layer, after)
                block = net.find_block(layer.name)
                self.prepared[layer.name] = PreparedLayer(layer, block, dtype, way, before)
        self._by_size: dict[Size, SizedLayers] = {}
        self.for_size(size)

    def for_size(self, size: Size) -> SizedLayers:
        """The layers for images of that height and width."""
        layers = self._by_size.pop(size, None)
        if layers is None:
            held = image_memory(self.architecture, size)
            while self._by_size:
                others = sum(image_memory(self.architecture, other) for other in self._by_size)
                if others + held <= WHOLE_MEMORY:
                    break
                del self._by_size[next(iter(self._by_size))]
            layers = SizedLayers(self.architecture, self.prepared, size, self.dtype)
        self._by_size[size] = layers  # the last one is that which was used last
        return layers

    def __call__(
        self,
        x: Tensor,
        masks: Sequence[Tensor] | Mapping[int, Tensor] | None = None,
        norms: NormStatistics | None = None,
    ) -> tuple[Tensor, Tensor]:
        layers = self.for_size((x.shape[2], x.shape[3]))
        mask_of = multipliers_by_block(self.architecture, masks)
        made, embeddings = [], []
        for k in range(len(x)):
            own = {number: mask[k : k + 1] for number, mask in mask_of.items()}
            embedding, _ = run_together([layers], [x[k : k + 1]], own, norms)
            # A copy: the next image replaces what is in the buffer.
            made.append(layers.result.clone())
            embeddings.append(embedding)
        return torch.cat(made), torch.cat(embeddings)

    def measure_norms(self, x: Tensor) -> NormStatistics:
        """As :meth:`LayeredGenerator.measure_norms`."""
        size = x.shape[2], x.shape[3]
        self._by_size.clear()  # whose buffers these images have
        layers = [SizedLayers(self.architecture, self.prepared, size, self.dtype) for _ in x]
        return run_together(layers, x.split(1), {})[1]
