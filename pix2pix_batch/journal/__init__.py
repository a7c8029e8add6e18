"""A job's records on disk, and what is read from them."""
