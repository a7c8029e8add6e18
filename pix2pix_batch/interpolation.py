"""A generator between two related ones, or beyond: each weight on the line through theirs.

ESRGAN (Wang et al. 2018, arXiv 1809.00219, section 3.4) so balances a model of few errors and
little texture with one of the opposite, trained on from it. Weights of models that do not stem
from one another lie in no common order, and what is between them is noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pix2pix_batch import bundle
from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.errors import BundleError
from pix2pix_batch.generators.description import Description
from pix2pix_batch.text import escape

if TYPE_CHECKING:
    from pix2pix_batch.generators.generator import Generator

ALIKE = ("architecture", "image_size", "fit", "source_domain", "target_domain")

SHARED = ("recipe", "data")
"""What the provenance says of both, and other commands look up; all else is told of each."""


@dataclass(frozen=True)
class Parts:
    """How much of the second model each part of the generator gets: 0 is the first's, 1 the
    second's, 1.1 a tenth beyond. ``texture``: the decoder's outermost blocks
    (:meth:`Description.part_of`); ``decoder``: its other blocks."""

    encoder: float
    decoder: float
    texture: float

    def __str__(self) -> str:
        """``by 0.5``, or what each part gets where they differ."""
        by = asdict(self)
        if len(set(by.values())) == 1:
            return f"by {self.encoder:g}"
        return ", ".join(f"{part} by {value:g}" for part, value in by.items())

    def weight_of(self, architecture: Description, weight: str) -> float:
        """``weight``: its name, such as ``up.3.conv.weight``."""
        by: float = getattr(self, architecture.part_of(weight))
        return by


def interpolate(first: Path, second: Path, file: Path, parts: Parts) -> bool:
    """Write the bundle ``file``: each weight that of ``first`` plus a part of what ``second`` has
    more.

    What the bundle says of its training inputs depends on the encoder alone, and is kept where
    that is one of the two; whether it was. The provenance says what it was made of. Raises
    :class:`BundleError`, also where the two are not of a kind.
    """
    (info, a), (other, b) = bundle.load(first), bundle.load(second)
    _require_alike(first, info, second, other)
    state, theirs = a.state_dict(), b.state_dict()
    for name, value in state.items():
        if value.is_floating_point():
            value = value.lerp(
                theirs[name], parts.weight_of(info.architecture, name)
            )  # exact at 0 and 1
        state[name] = value.clamp(min=0) if name.endswith("running_var") else value
    generator: Generator = info.architecture.build().eval()
    generator.load_state_dict(state)
    embedding = None
    if parts.encoder in (0, 1):
        embedding = bundle.load_embedding(second if parts.encoder else first)
    made_of = [_origin(info, first), _origin(other, second)]
    provenance = {key: info.provenance[key] for key in SHARED if key in info.provenance}
    provenance["interpolated"] = {"of": made_of, **asdict(parts)}
    made = replace(info, name=file.stem, provenance=provenance)
    bundle.save(file, made, generator, half=bundle.is_half(first), embedding=embedding)
    return embedding is not None


def _origin(info: BundleInfo, path: Path) -> dict[str, object]:
    return {"name": info.name, "sha256": bundle.fingerprint(path), "provenance": info.provenance}


def _require_alike(first: Path, a: BundleInfo, second: Path, b: BundleInfo) -> None:
    for field in ALIKE:
        mine, theirs = getattr(a, field), getattr(b, field)
        if mine != theirs:
            raise BundleError(
                f"{escape(second)}: its {field.replace('_', ' ')} is not that of {escape(first)}; "
                "only a model and one that was trained on from it ('train' with init) can be "
                "interpolated"
            )
