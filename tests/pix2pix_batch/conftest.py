"""What the tests of the library share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def family() -> Iterator[None]:
    """The generators of ``tests/identity.py`` are known, and none of their engines stays open."""
    from pix2pix_batch.inference.engine_cache import open_engine
    from tests.identity import identity_family

    with identity_family():
        yield
    open_engine.cache_clear()
