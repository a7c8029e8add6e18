"""What may run a model, by the names that ``--backend`` has. Needs no torch."""

TORCH = "torch"
"""The backend that is always there."""

BACKENDS = ("auto", "tensorrt", "tensorrt_rtx", TORCH)
"""``auto``: the best that is there. All others but PyTorch are opened by
:mod:`pix2pix_batch.engines.backends`."""
