"""What outputs keep of their inputs beside the picture. ``docs/metadata.md``."""
