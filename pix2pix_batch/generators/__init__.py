"""The families of generators: one file each. Needs no torch until a network is built."""

from pix2pix_batch.generators.cut import CutResNet
from pix2pix_batch.generators.description import Description, Layout, LayoutError, Norm
from pix2pix_batch.generators.pix2pixhd import GlobalGenerator, LocalEnhancer
from pix2pix_batch.generators.postactivation_unet import PostActivationUNet
from pix2pix_batch.generators.registry import (
    Recognised,
    describe,
    families,
    find,
    recognise,
    register,
    unregister,
)
from pix2pix_batch.generators.resnet import ResNet
from pix2pix_batch.generators.tensorflow_unet import TensorFlowUNet
from pix2pix_batch.generators.unet import Architecture

__all__ = [
    "Architecture",
    "CutResNet",
    "Description",
    "GlobalGenerator",
    "Layout",
    "LayoutError",
    "LocalEnhancer",
    "Norm",
    "PostActivationUNet",
    "Recognised",
    "ResNet",
    "TensorFlowUNet",
    "describe",
    "families",
    "find",
    "recognise",
    "register",
    "unregister",
]

for family in (
    Architecture, ResNet, CutResNet, GlobalGenerator, LocalEnhancer, PostActivationUNet,
    TensorFlowUNet,
):  # fmt: skip
    register(family)
