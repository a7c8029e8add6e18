"""How the CPU's engine runs each layer of a generator, and in which buffers the features are held.

Needs no torch: the memory of a worker is reckoned by it too
(:mod:`pix2pix_batch.inference.memory`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from pix2pix_batch.generators.layers import IMAGE, Convolution, LayeredDescription
from pix2pix_batch.inference import convolution_rule as rule

Size = tuple[int, int]
Way = Literal["direct", "winograd", "thin"]
Choice = Callable[[Convolution, Size], Way]


class Place(NamedTuple):
    """How features are held: with so many pixels on each side, mirrored or zeros, and zeros below
    and to the right up to a height and width."""

    margin: int
    reflects: bool
    padded: Size


class Room(NamedTuple):
    """A buffer for the features of one image, whose height and width is ``size``."""

    channels: int
    size: Size
    place: Place


@dataclass(frozen=True)
class FeaturePlan:
    """``rooms``: the buffers; ``buffers``: the number of that which each layer's result, and
    :data:`IMAGE`, is in; ``input_places``: how each convolution reads its input, by its name."""

    rooms: tuple[Room, ...]
    buffers: Mapping[str, int]
    input_places: Mapping[str, Place]

    def room(self, name: str) -> Room:
        """Of that layer's result."""
        return self.rooms[self.buffers[name]]


def choose_way(layer: Convolution, after: Size) -> Way:
    """How a convolution with that output takes the least time in float32, on CPUs whose instruction
    set is known: as matrix products, or oneDNN's direct one."""
    if rule.is_small_winograd(
        layer.kernel, layer.stride, layer.inputs, layer.outputs, after, transposed=layer.transposed
    ):
        return "winograd"
    return "thin" if is_thin(layer) else "direct"


def is_thin(layer: Convolution) -> bool:
    """Whether it makes the image: of inner layers only toys have so few channels."""
    is_plain = rule.is_thin_plain(layer.kernel, layer.stride, layer.outputs)
    return is_plain and not layer.transposed and not layer.normed


def choose_direct(layer: Convolution, after: Size) -> Way:
    """No convolution as matrix products."""
    return "direct"


def place_input(layer: Convolution, before: Size, after: Size, way: Way) -> Place:
    """Say how a convolution reads its input. What is held otherwise is copied.

    Args:
        layer: The convolution.
        before: Height and width of its input.
        after: Height and width of its output.
        way: How it runs.

    Returns:
        The margin and the size that its input has to have.
    """
    if way == "winograd":  # whole tiles of outputs, and what their kernels reach beyond
        rows, columns = (
            rule.SMALL_OUTPUTS * count + rule.SMALL_KERNEL - 1 for count in rule.small_tiles(after)
        )
        return Place(layer.padding, layer.reflects, (rows, columns))
    margin = layer.padding if layer.reflects or way == "thin" else 0
    return Place(margin, layer.reflects, (before[0] + 2 * margin, before[1] + 2 * margin))


def plan_features(
    description: LayeredDescription, size: Size, choose: Choice = choose_way
) -> FeaturePlan:
    """Plan the buffers of the layers' results.

    A buffer serves another layer's result of the same shape once nothing reads it any more; but
    those of the image and of the translated image are their own, so that a wider generator never
    takes less.

    Args:
        description: The generator's layers.
        size: Height and width of the images.
        choose: Chooses how each convolution runs.

    Returns:
        The buffers, which layer has which, and how each convolution reads its input.
    """
    layers = list(description.measure_layers(*size))
    input_places = {}
    for layer, before, after in layers:
        if isinstance(layer, Convolution):
            input_places[layer.name] = place_input(layer, before, after, choose(layer, after))
    kinds = {IMAGE: _room(description, input_places, IMAGE, description.in_channels, size)}
    for layer, _, after in layers:
        kinds[layer.name] = _room(description, input_places, layer.name, layer.outputs, after)
    rooms, buffers, free = [kinds[IMAGE]], {IMAGE: 0}, dict[Room, list[int]]()
    last, end = description.last_reads, layers[-1].layer.name
    for at, (layer, _, _) in enumerate(layers):
        kind = kinds[layer.name]
        reusable = free.get(kind, []) if layer.name != end else []
        if not reusable:
            rooms.append(kind)
        buffers[layer.name] = reusable.pop() if reusable else len(rooms) - 1
        # After the layer's own result has its buffer: it must not overwrite what it is made of.
        for done in {*layer.reads} - {IMAGE}:
            if last[done] == at:
                free.setdefault(kinds[done], []).append(buffers[done])
    return FeaturePlan(tuple(rooms), buffers, input_places)


def _room(
    description: LayeredDescription, input_places: Mapping[str, Place], name: str, channels: int,
    size: Size,
) -> Room:  # fmt: skip
    """As its readers want it, where all want the same."""
    plain = Place(0, False, size)
    places = {input_places.get(reader, plain) for reader in _list_readers(description, name)}
    return Room(channels, size, places.pop() if len(places) == 1 else plain)


def _list_readers(description: LayeredDescription, name: str) -> Iterator[str]:
    return (layer.name for layer in description.layers if layer.source == name)
