"""The bundle: one ``.safetensors`` file with a generator and all that is needed to run it right.

The format is documented in ``docs/bundle.md``. Reading the metadata needs no torch.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shlex
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pix2pix_batch.bundle_info import FITS as FITS
from pix2pix_batch.bundle_info import SCHEMA as SCHEMA
from pix2pix_batch.bundle_info import BundleInfo as BundleInfo
from pix2pix_batch.bundle_info import require_fit as require_fit
from pix2pix_batch.errors import BundleError
from pix2pix_batch.storage.whole import whole
from pix2pix_batch.text import describe_error

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pix2pix_batch.generators.generator import Generator

METADATA_KEY = "pix2pix_batch"
MAX_HEADER = 100_000_000  # the safetensors format's own limit
MODELS = Path(__file__).parent / "models"
"""Where the shipped models lie, each as ``<name>.safetensors``."""


def resolve(model: str | os.PathLike[str]) -> Path:
    """The file of a shipped model's name, or of a path. Raises :class:`BundleError`."""
    shipped = MODELS / f"{model}.safetensors"
    if os.sep not in str(model) and os.path.isfile(shipped):
        return shipped
    path = Path(model)
    if os.path.isfile(path):
        return path
    if os.path.exists(path):
        raise BundleError(f"{path}: is not a file; --model takes a name or a .safetensors file")
    names = ", ".join(shipped_names())
    near = difflib.get_close_matches(str(model), shipped_names(), 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise BundleError(
        f"{path}: no such model{hint}. Shipped models: {names}; or give the path of a bundle "
        "(a .safetensors file)"
    )


def shipped_names() -> list[str]:
    return sorted(path.stem for path in MODELS.glob("*.safetensors"))


def read_info(path: Path) -> BundleInfo:
    """The metadata of the bundle at ``path``. Raises :class:`BundleError`."""
    try:
        header, length, size = _read_header(path)
    except BundleError:
        raise
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: is damaged or no safetensors file; get it again") from error
    try:
        text = header["__metadata__"][METADATA_KEY]
        if not isinstance(text, str):
            raise TypeError("metadata must be text")
    except (KeyError, TypeError) as error:
        raise BundleError(
            f"{path}: is a safetensors file but no pix2pix-batch bundle: it has no "
            f"'{METADATA_KEY}' metadata; if it holds a generator's weights, 'pix2pix-batch model "
            f"import {shlex.quote(str(path))} {shlex.quote(f'{_stem(path)}.safetensors')}' makes a "
            "bundle of them"
        ) from error
    try:
        ends = [v["data_offsets"][1] for name, v in header.items() if name != "__metadata__"]
        is_whole = max(ends, default=0) == size - 8 - length
    except (KeyError, IndexError, TypeError):
        is_whole = False
    if not is_whole:
        raise BundleError(f"{path}: is cut short or damaged; get it again")
    try:
        return BundleInfo.from_json(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path}: {error}") from error


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The safetensors header, its length and the file's. Raises ``ValueError`` where there is none.

    The length comes first in a bundle and may begin with the bytes of a zip (``PK``) or a pickle
    (``0x80``) by chance; read as a length, the beginnings of real ones are far too long.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(9)
        length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8) or start[8:] != b"{":
            if start[:2] == b"PK" or start[:1] == b"\x80":
                raise BundleError(
                    f"{path}: is a PyTorch pickle, not a bundle. Pickles can run code and are "
                    f"never loaded; 'pix2pix-batch model import {shlex.quote(str(path))} "
                    f"{shlex.quote(f'{_stem(path)}.safetensors')}', which reads plain tensors "
                    "only, makes a bundle of a checkpoint"
                )
            raise ValueError("no header")
        header = json.loads(start[8:] + file.read(length - 1))
    return header, length, size


def _stem(path: Path) -> str:
    """A bundle's name: that of the run, for its checkpoints."""
    absolute = path.absolute()
    run = absolute.parent.parent.name if absolute.parent.name == "checkpoints" else ""
    if run:
        return f"{run}-{path.stem}"
    return f"{path.stem}-imported" if path.suffix == ".safetensors" else path.stem


def fingerprint(path: Path) -> str:
    """SHA-256 of the file, hex: what names a model in journals and caches."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Embedding(NamedTuple):
    """How the generator's embeddings of its training inputs lie.

    ``mean``: ``float32 (D,)``, ``covariance``: ``float32 (D, D)``, over ``inputs`` of them; ``D``
    is the width of the bottleneck. ``quantiles``: ``float32 (101,)``, how far training inputs lie
    from the others (:mod:`pix2pix_batch.distance`), at :data:`PERCENTILES`; ``None`` where that is
    not known.
    """

    mean: np.ndarray
    covariance: np.ndarray
    inputs: int
    quantiles: np.ndarray | None = None


PERCENTILES = range(101)

EMBEDDING_KEYS = ("embedding.mean", "embedding.covariance", "embedding.count")
QUANTILES_KEY = "embedding.quantiles"


def load_embedding(path: Path) -> Embedding | None:
    """The bundle's :class:`Embedding`, if it has one. Raises :class:`BundleError`."""
    import safetensors

    info = read_info(path)
    width = info.architecture.bottleneck
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            keys = set(file.keys())
            if not keys & {*EMBEDDING_KEYS, QUANTILES_KEY}:
                return None
            mean, covariance, count = (file.get_tensor(key) for key in EMBEDDING_KEYS)
            quantiles = file.get_tensor(QUANTILES_KEY) if QUANTILES_KEY in keys else None
    except Exception as error:
        raise BundleError(
            f"{path}: its embedding cannot be read ({error}); get it again"
        ) from error
    if mean.shape != (width,) or covariance.shape != (width, width) or count.shape != (1,):
        raise BundleError(f"{path}: its embedding does not fit its architecture; get it again")
    if quantiles is not None and not _are_quantiles(quantiles):
        raise BundleError(f"{path}: its embedding's quantiles are no distances; get it again")
    return Embedding(mean, covariance, int(count[0]), quantiles)


def _are_quantiles(values: np.ndarray) -> bool:
    if values.shape != (len(PERCENTILES),) or not 0 < values[-1] < float("inf"):
        return False
    return bool(values[0] >= 0 and (values[1:] >= values[:-1]).all())


def load(path: Path) -> tuple[BundleInfo, Generator]:
    """The bundle's metadata and its generator: float32, eval mode. Raises :class:`BundleError`."""
    import torch

    info, state = read_info(path), _read_tensors(path)
    return info, _generator(path, info, {k: v.to(torch.float32) for k, v in state.items()})


def load_mapped(path: Path) -> tuple[BundleInfo, Generator]:
    """As :func:`load`, but the convolutions' weights are as they are stored (float16 or float32):
    pages of the file, which are read when they are used, shared with other processes, and gone with
    the generator. Not for the main thread: see :func:`load`."""
    import safetensors
    import torch

    info = read_info(path)
    state = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 (it is no dict)
                value = file.get_tensor(name)
                stays = name.endswith(".conv.weight") and value.dtype == torch.float16
                state[name] = value if stays else value.to(torch.float32)
                if not name.endswith(".conv.weight"):  # what is small outlives the rest
                    state[name] = state[name].clone()
    except Exception as error:
        raise BundleError(f"{path}: its weights cannot be read ({error}); get it again") from error
    return info, _generator(path, info, state)


def _generator(path: Path, info: BundleInfo, state: dict[str, torch.Tensor]) -> Generator:
    """Raises :class:`BundleError` for weights that are not the architecture's, or no numbers."""
    import torch

    with torch.device("meta"):
        generator: Generator = info.architecture.build()
    for name in (*EMBEDDING_KEYS, QUANTILES_KEY):
        state.pop(name, None)
    for name in generator.state_dict():
        if name.endswith("num_batches_tracked"):
            state.setdefault(name, torch.tensor(0))
    try:
        generator.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = describe_error(error, 300)
        raise BundleError(f"{path}: its weights do not fit its architecture: {reason}") from error
    for name, value in state.items():
        if not _is_finite(value):
            raise BundleError(
                f"{path}: the weights {name!r} hold infinities or NaN; train it again"
            )
    return generator.eval().requires_grad_(False)


def _is_finite(x: torch.Tensor) -> bool:
    """Whether it holds no infinity and no NaN, which is the least and the largest if there is one:
    ``isfinite`` of each number takes five times as long."""
    import torch

    return not x.numel() or all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(x))


def save(
    path: Path,
    info: BundleInfo,
    generator: Generator,
    *,
    half: bool = True,
    embedding: Embedding | None = None,
) -> None:
    """Write a bundle, whole or not at all. ``half``: weights as float16, else float32.

    Norm statistics and scales stay float32. Raises :class:`BundleError` where a weight does not
    fit into float16.
    """
    import torch

    if info.architecture != generator.architecture:
        raise ValueError("the metadata is for another architecture than the generator's")
    tensors = {}
    for name, value in generator.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        narrow = half and ".conv." in name
        tensor = value.detach().to("cpu", torch.float16 if narrow else torch.float32).contiguous()
        if not _is_finite(tensor):
            raise BundleError(f"{path}: the weights {name!r} do not fit into {tensor.dtype}")
        tensors[name] = tensor
    if embedding is not None:
        tensors |= _tensors(embedding)
    _write(path, tensors, info)


def is_half(path: Path) -> bool:
    """Whether the weights of the bundle at ``path`` are float16."""
    import safetensors

    with safetensors.safe_open(path, framework="pt") as file:
        weights = [name for name in file.keys() if name.endswith(".conv.weight")]  # noqa: SIM118
        return any(file.get_slice(name).get_dtype() == "F16" for name in weights)


def describe(path: Path, embedding: Embedding) -> None:
    """Give the bundle at ``path`` another :class:`Embedding`; all else stays as it is, bit for
    bit. Raises :class:`BundleError`."""
    info, tensors = read_info(path), _read_tensors(path)
    for key in (*EMBEDDING_KEYS, QUANTILES_KEY):
        tensors.pop(key, None)
    _write(path, tensors | _tensors(embedding), info)


def change_info(path: Path, info: BundleInfo) -> None:
    """Give the bundle at ``path`` other metadata; its tensors stay as they are, bit for bit.
    Raises :class:`BundleError`."""
    _write(path, _read_tensors(path), info)


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    import safetensors.torch

    try:
        # not load_file: what it calls of PyTorch's from Rust turns Ctrl-C into another error
        return safetensors.torch.load(path.read_bytes())
    except Exception as error:
        raise BundleError(f"{path}: its weights cannot be read ({error}); get it again") from error


def _tensors(embedding: Embedding) -> dict[str, torch.Tensor]:
    import numpy as np
    import torch

    values = [embedding.mean, embedding.covariance, np.array([embedding.inputs])]
    arrays = dict(zip(EMBEDDING_KEYS, values, strict=True))
    if embedding.quantiles is not None:
        arrays[QUANTILES_KEY] = embedding.quantiles
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def _write(path: Path, tensors: dict[str, torch.Tensor], info: BundleInfo) -> None:
    import safetensors.torch

    with whole(path) as file:
        file.write(safetensors.torch.save(tensors, {METADATA_KEY: info.as_json()}))
