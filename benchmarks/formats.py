"""What each output format costs: time to encode, bytes, and what is lost.

    python benchmarks/formats.py [--model map2aerial] [--images examples/maps]

Encodes the model's outputs for the images, cut to its size, each several times on one thread, as
``convert`` encodes them.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
from PIL import Image

from pix2pix_batch import bundle
from pix2pix_batch.engines.doctor import cpu_model
from pix2pix_batch.imaging import images
from pix2pix_batch.inference.engine import TorchEngine, psnr

EXAMPLES = Path(__file__).parents[1] / "examples" / "maps"
REPEATS = 20
FORMATS = [
    ("png", None), ("jpg", 80), ("jpg", 90), ("jpg", 95), ("webp", 90), ("webp", 100),
    ("tiff", None),
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="map2aerial")
    parser.add_argument("--images", type=Path, default=EXAMPLES)
    arguments = parser.parse_args()

    outputs = translate(arguments.model, sorted(arguments.images.glob("*.png")))
    height, width = outputs[0].shape[:2]
    print(f"{len(outputs)} outputs of {arguments.model}, {width}x{height}; {cpu_model()}\n")
    print("| format | ms to encode | KB an image | PSNR |")
    print("| --- | --- | --- | --- |")
    for form, quality in FORMATS:
        print(row(outputs, form, quality))


def translate(model: str, paths: list[Path]) -> np.ndarray:
    """``uint8 (N, S, S, C)``: what the model makes of the images' upper left squares."""
    info, unet = bundle.load(bundle.resolve(model))
    side, channels = info.image_size, info.architecture.in_channels
    inputs = [images.read(path.read_bytes(), channels).pixels[:side, :side] for path in paths]
    engine = TorchEngine(unet, size=side, batch_size=len(inputs))
    return engine(np.stack(inputs)).images


def row(outputs: np.ndarray, form: str, quality: int | None) -> str:
    pictures = [images.Picture(pixels) for pixels in outputs]
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        files = [images.write(picture, form, quality) for picture in pictures]
        times.append((time.perf_counter() - start) / len(files))
    size = float(np.mean([len(file) for file in files]))
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    loss = psnr(decoded, outputs)
    kept = "none lost" if np.isinf(loss) else f"{loss:.1f} dB"
    name = f"`{form}`" if quality is None else f"`{form}` `--quality {quality}`"
    milliseconds = 1000 * float(np.median(times))
    return f"| {name} | {milliseconds:.1f} | {size / 1e3:.0f} | {kept} |"


if __name__ == "__main__":
    main()
