"""What decoding and encoding cost with each codec that is here.

    python benchmarks/codecs.py [--seconds 1] [--out codecs.md]

The examples' maps and photos, 256x256, JPEG with quality 92 and PNG; milliseconds an image, one
image after the other on one thread of the CPU, and in batches of all on a GPU, where the pixels
stay. What is not installed is named and left out.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import SIZE, machine, repeat, synchronise, table
from PIL import Image

from pix2pix_batch.imaging import images
from pix2pix_batch.imaging.images import Picture

EXAMPLES = Path(__file__).parent.parent / "examples"
QUALITY = 92
FORMS = ("jpg", "png")

Coder = Callable[[list[Any]], list[Any]]
"""Of a list of files (bytes) or images, all of them."""


class Codec:
    """``prepare``: an image, ``uint8 (H, W, 3)``, as the encoders take it; ``take``: a decoded
    one as such an array; ``data``: an encoded one as bytes; ``coders``: ``decode jpg`` and others.
    """

    device = "cpu"
    coders: dict[str, Coder]

    def prepare(self, pixels: np.ndarray) -> Any:
        return pixels

    def take(self, made: Any) -> np.ndarray:
        return np.asarray(made)

    def data(self, made: Any) -> bytes:
        return bytes(made)


class AsConvert(Codec):
    """As ``convert`` does: orientation, profiles and modes seen to."""

    def __init__(self) -> None:
        def decode(files: list[bytes]) -> list[np.ndarray]:
            return [images.read(file, 3).pixels for file in files]

        self.coders = {f"decode {form}": decode for form in FORMS}
        for form in FORMS:
            self.coders[f"encode {form}"] = lambda pictures, form=form: [
                images.write(Picture(one, None), form, QUALITY if form == "jpg" else None)
                for one in pictures
            ]


class Torchvision(Codec):
    def __init__(self) -> None:
        from torchvision import io as tv

        self.coders = {
            "decode jpg": lambda files: [tv.decode_jpeg(tensor(one)) for one in files],
            "encode jpg": lambda made: [tv.encode_jpeg(one, QUALITY) for one in made],
            "decode png": lambda files: [tv.decode_png(tensor(one)) for one in files],
            "encode png": lambda made: [tv.encode_png(one) for one in made],
        }

    def prepare(self, pixels: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().to(self.device)

    def take(self, made: torch.Tensor) -> np.ndarray:
        return made.cpu().permute(1, 2, 0).numpy()

    def data(self, made: torch.Tensor) -> bytes:
        return made.cpu().numpy().tobytes()


class TorchvisionCuda(Torchvision):
    """nvJPEG, in batches."""

    device = "cuda"

    def __init__(self) -> None:
        from torchvision import io as tv

        require_gpu()
        self.coders = {
            "decode jpg": lambda files: tv.decode_jpeg(list(map(tensor, files)), device="cuda"),
            "encode jpg": lambda made: tv.encode_jpeg(made, QUALITY),
        }


class NvImageCodec(Codec):
    device = "cuda"

    def __init__(self) -> None:
        from nvidia import nvimgcodec as nv

        require_gpu()
        decoder, encoder = nv.Decoder(), nv.Encoder()
        self.nv = nv
        best = nv.EncodeParams(quality_type=nv.QualityType.QUALITY, quality_value=QUALITY)
        self.coders = {
            "decode jpg": lambda files: decoder.decode([nv.CodeStream(one) for one in files]),
            "encode jpg": lambda made: encoder.encode(made, "jpeg", params=best),
            "decode png": lambda files: decoder.decode([nv.CodeStream(one) for one in files]),
            "encode png": lambda made: encoder.encode(made, "png"),
        }

    def prepare(self, pixels: np.ndarray) -> Any:
        return self.nv.as_image(torch.from_numpy(pixels).cuda())

    def take(self, made: Any) -> np.ndarray:
        return np.asarray(made.cpu())


CODECS: dict[str, type[Codec]] = {
    "as convert": AsConvert,
    "torchvision, CPU": Torchvision,
    "torchvision, CUDA": TorchvisionCuda,
    "nvImageCodec": NvImageCodec,
}


def require_gpu() -> None:
    if not torch.cuda.is_available():
        raise RuntimeError("PyTorch finds no NVIDIA GPU here")


def tensor(file: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(file), dtype=torch.uint8)


def pictures(count: int | None) -> list[np.ndarray]:
    """The first ``count`` examples, or all, scaled to the size of a tile."""
    paths = sorted(EXAMPLES.glob("*/*.png"))[:count]
    return [np.array(Image.open(p).convert("RGB").resize((SIZE, SIZE))) for p in paths]


def encoded(pixels: np.ndarray, form: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, {"jpg": "JPEG", "png": "PNG"}[form], quality=QUALITY)
    return buffer.getvalue()


def milliseconds(codec: Codec, task: str, wanted: list[np.ndarray], seconds: float) -> float:
    """One of the images ``wanted``. Raises ``ValueError`` where what comes out is not the image
    that went in."""
    verb, form = task.split()
    coder = codec.coders[task]
    decoding = verb == "decode"
    given = [encoded(one, form) if decoding else codec.prepare(one) for one in wanted]
    for made, one in zip(coder(given), wanted, strict=True):
        if made is None:
            raise ValueError("makes nothing of it")
        found = codec.take(made) if decoding else decode_file(codec.data(made))
        if found.shape != one.shape or np.abs(found.astype(int) - one).mean() > 8:
            raise ValueError("makes another image of it")

    def call() -> None:
        coder(given)
        synchronise(codec.device)

    return repeat(call, len(given), seconds)


def decode_file(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--images", type=int, help="of the examples; default: all")
    parser.add_argument("--out", type=Path, help="also write the table there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    wanted = pictures(arguments.images)
    tasks = [f"{verb} {form}" for verb in ("decode", "encode") for form in FORMS]
    rows, notes = [], []
    for name, kind in CODECS.items():
        try:
            codec = kind()
        except Exception as error:
            notes.append(f"- left out: {name}: {error}")
            continue
        cells = []
        for task in tasks:
            try:
                known = task in codec.coders
                taken = milliseconds(codec, task, wanted, arguments.seconds) if known else 0.0
                cells.append(f"{taken:.2f}" if known else "none")
            except Exception as error:
                cells.append("failed")
                notes.append(f"- {name}: {task}: {error}")
        rows.append([name, *cells])
    title = f"{machine()}; ms an image of {len(wanted)}, {SIZE}x{SIZE}"
    text = "\n".join([title, "", *table(["codec", *tasks], rows), *[""] * bool(notes), *notes])
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
