"""Importing this module imports what a worker needs: the fork server's way to be told so
(:mod:`pix2pix_batch.scheduling.template`)."""

from pix2pix_batch.workers.imports import import_all

import_all()
