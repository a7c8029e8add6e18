"""Rasters: files of any bands and types, read and written window by window.

``docs/rasters.md`` says how they are treated. Pictures of 8 bits are the matter of
:mod:`pix2pix_batch.imaging.images`.
"""
