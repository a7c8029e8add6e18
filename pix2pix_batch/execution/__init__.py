"""Chunks of work, sent to Dask workers and survived: deaths, late comers, lost mounts."""
