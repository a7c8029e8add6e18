"""Importing this module imports what a worker needs: the fork server's way to be told so
(:mod:`pix2pix_batch.execution.worker_template`)."""

from pix2pix_batch.execution.worker_imports import end_forks_with_this_process, import_all

end_forks_with_this_process()
import_all()
