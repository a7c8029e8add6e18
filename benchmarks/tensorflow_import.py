"""What is imported of TensorFlow's pix2pix tutorial, against what TensorFlow itself computes.

    pip install -e '.[keras]' tensorflow tf_keras
    python benchmarks/tensorflow_import.py [--ngf 64] [--downs 8] [--folder files]

TensorFlow builds the tutorial's generator and discriminator, trains a step, sets random weights and
statistics, and saves all in each of its containers, in a process of its own: with Keras 3, then
with Keras 2 (``tf_keras``). Each file is imported and run by the CPU's engine; told is how far the
images are from TensorFlow's, in levels of 255, with an image's own statistics and with the running
ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

CONTAINERS = ("ckpt-1.index", "g.keras", "g.weights.h5", "g.h5")


def save_files(folder: Path, ngf: int, downs: int) -> None:
    """Have TensorFlow write the files, and ``images.npz``: an image and what becomes of it."""
    import tensorflow as tf

    keras, side = tf.keras, 2**downs
    layers = keras.layers

    def block(filters: int, kind: type, *, norm: bool, end: object, drop: bool = False) -> object:
        model = keras.Sequential()
        model.add(kind(filters, 4, strides=2, padding="same", use_bias=False))
        if norm:
            model.add(layers.BatchNormalization())
        if drop:
            model.add(layers.Dropout(0.5))
        model.add(end)
        return model

    widths = [ngf * min(8, 2**i) for i in range(downs)]
    x = inputs = layers.Input(shape=[side, side, 3])
    skips = []
    for i, width in enumerate(widths):
        x = block(width, layers.Conv2D, norm=i > 0, end=layers.LeakyReLU())(x)
        skips.append(x)
    for k, width in enumerate(widths[-2::-1]):
        up = block(width, layers.Conv2DTranspose, norm=True, end=layers.ReLU(), drop=k < 3)
        x = layers.Concatenate()([up(x), skips[-k - 2]])
    last = layers.Conv2DTranspose(3, 4, strides=2, padding="same", activation="tanh")
    generator = keras.Model(inputs=inputs, outputs=last(x))
    discriminator = keras.Sequential(
        [block(ngf, layers.Conv2D, norm=False, end=layers.LeakyReLU()), layers.Conv2D(1, 4)]
    )
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (1, side, side, 3), dtype=np.uint8)
    image = tf.constant(pixels / 127.5 - 1, tf.float32)
    optimizers = keras.optimizers.Adam(2e-4), keras.optimizers.Adam(2e-4)
    with tf.GradientTape(persistent=True) as tape:
        judged = tf.reduce_mean(discriminator(generator(image, training=True), training=True))
    for network, optimizer in zip((generator, discriminator), optimizers, strict=True):
        weights = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(judged, weights), weights, strict=True))
    for weight in generator.weights:
        name = getattr(weight, "path", weight.name)
        middle, spread = (1, 0.2) if "gamma" in name else (0, 0.05 if "kernel" in name else 0.2)
        value = random.normal(middle, spread, weight.shape)
        weight.assign(random.uniform(0.5, 2, weight.shape) if "variance" in name else value)
    tf.train.Checkpoint(
        generator=generator, discriminator=discriminator, generator_optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1],
    ).save(str(folder / "ckpt"))  # fmt: skip
    generator.save(str(folder / "g.keras"))
    generator.save(str(folder / "g.h5"))
    generator.save_weights(str(folder / "g.weights.h5"))
    for layer in generator.layers:
        for inner in getattr(layer, "layers", []):
            if isinstance(inner, layers.Dropout):
                inner.rate = 0.0
    # the running ones first: a run with an image's own moves them
    made = {mode: generator(image, training=mode == "own").numpy() for mode in ("running", "own")}
    np.savez(folder / "images.npz", pixels=pixels, **made)
    print(f"TensorFlow {tf.__version__}, {keras.__name__}")


def compare(folder: Path) -> None:
    """Print how far each import is from what TensorFlow made."""
    from pix2pix_batch.inference.engine import TorchEngine
    from pix2pix_batch.reference import import_checkpoint

    known = np.load(folder / "images.npz")
    pixels = known["pixels"]
    for name in CONTAINERS:
        for norm, mode in (("batch-statistics", "own"), ("running-statistics", "running")):
            _, net = import_checkpoint(folder / name, name="x", norm=norm)
            engine = TorchEngine(net, size=pixels.shape[1], batch_size=1)
            expected = ((known[mode].astype(np.float64) + 1) * 127.5).round()
            off = np.abs(engine(pixels).images - expected)
            print(f"{name:14} {norm:19} mean {off.mean():.4f}, greatest {off.max():.0f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ngf", type=int, default=64)
    parser.add_argument("--downs", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where to keep the files")
    parser.add_argument("--save", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.save:
        save_files(args.folder, args.ngf, args.downs)
        return
    with tempfile.TemporaryDirectory() as temporary:
        for keras, legacy in (("keras3", "0"), ("keras2", "1")):
            folder = (args.folder or Path(temporary)) / keras
            folder.mkdir(parents=True, exist_ok=True)
            numbers = "--ngf", str(args.ngf), "--downs", str(args.downs), "--folder", str(folder)
            subprocess.run(
                [sys.executable, __file__, "--save", *numbers],
                env={**os.environ, "TF_USE_LEGACY_KERAS": legacy}, check=True,
            )  # fmt: skip
            compare(folder)


if __name__ == "__main__":
    main()
