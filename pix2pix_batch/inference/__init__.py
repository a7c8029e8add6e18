"""What runs on a worker: decode, convert, encode, write."""
