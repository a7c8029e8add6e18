"""Reading and writing files: on disk, behind URLs, in tars."""
