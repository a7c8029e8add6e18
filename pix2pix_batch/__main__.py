"""``python -m pix2pix_batch`` is ``pix2pix-batch``."""

import sys

if not sys.flags.safe_path:
    # 'python -m' looks for modules in the current directory first, where users have a signal.py
    sys.path.append(sys.path.pop(0))

from pix2pix_batch.cli import run

if __name__ == "__main__":
    run()
