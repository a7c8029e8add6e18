"""Reading and writing files: on disk and behind URLs."""
