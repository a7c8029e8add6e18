"""The workers that a job runs on: those of an existing cluster, or local ones, as many as fit."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from pix2pix_batch.bundle import BundleInfo
from pix2pix_batch.cores import cores
from pix2pix_batch.execution import capacity, gpu_sharing, worker_template
from pix2pix_batch.inference import fitting, input_reading, large_images, memory
from pix2pix_batch.inference.settings import WHOLE, Settings
from pix2pix_batch.item import Item
from pix2pix_batch.options import Options


def start_workers(
    stack: ExitStack, options: Options, info: BundleInfo, settings: Settings, first: list[Item]
) -> tuple[Any, int]:
    """A client of the cluster that the job runs on, and its number of workers, as many as fit
    with images such as the ``first``. ``stack`` ends them."""
    if options.scheduler:
        from pix2pix_batch.execution import cluster

        return stack.enter_context(cluster.connect(options.scheduler))
    gpus = [] if options.device == "cpu" else capacity.visible_gpus()
    # CUDA cannot be used after a fork of a process that has, and each worker has one GPU. That the
    # template has not opened CUDA is tested, but no fork of it was tried on a GPU yet.
    method = "spawn" if gpus else stack.enter_context(worker_template.start_template())
    held = gpu_sharing.ON_HOST if gpus else _engine_memory(info, settings, first)
    held += large_images.reckon_memory(first, info, settings)
    fitting_workers = capacity.default_workers(held, spawned=method == "spawn")
    workers_per_gpu = 1
    if gpus and options.workers is None:
        on_gpu = gpu_sharing.memory_on_gpu(info.architecture, settings.size, settings.batch_size)
        free = gpu_sharing.free_memory(gpus)
        workers_per_gpu = gpu_sharing.workers_per_gpu(len(gpus), cores(), on_gpu, free)
    environments = capacity.plan_environments(
        options.device, options.workers, gpus, cores(), fitting_workers, workers_per_gpu
    )
    # While the template imports PyTorch there is time to import what is needed here, and later.
    from pix2pix_batch.execution import cluster
    from pix2pix_batch.reporting import html_page  # noqa: F401

    return stack.enter_context(cluster.start_local(environments, method))


def _engine_memory(info: BundleInfo, settings: Settings, first: list[Item]) -> int:
    """Bytes that a worker's engine takes on the CPU."""
    size: int | tuple[int, int] = settings.size
    if settings.fit == WHOLE:
        found = map(input_reading.read_size, first)
        size = fitting.reckoned_size(info.architecture, [*filter(None, found)])
    return memory.engine_memory(info.architecture, size, settings.batch_size)
