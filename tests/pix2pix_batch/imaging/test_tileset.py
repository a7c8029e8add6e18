"""Descriptions of map tiles: what they say stays true when the tiles' format changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pix2pix_batch.imaging.tileset import (
    list_descriptions,
    may_be_description,
    translate_description,
)

TILE_MAP = b"""<?xml version="1.0" encoding="utf-8"?>
<TileMap version="1.0.0" tilemapservice="http://tms.osgeo.org/1.0.0">
  <Title>m\xc3\xa4p.png</Title>
  <SRS>EPSG:3857</SRS>
  <TileFormat width="256" height="256" mime-type="image/png" extension="png"/>
  <TileSets profile="mercator">
    <TileSet href="0" units-per-pixel="156543.03390625" order="0"/>
  </TileSets>
</TileMap>
"""


@pytest.mark.parametrize(
    ("form", "kind", "suffix"),
    [("jpg", "jpeg", "jpg"), ("webp", "webp", "webp"), ("tiff", "tiff", "tif")],
)
def test_tile_map(form: str, kind: str, suffix: str) -> None:
    expected = TILE_MAP.replace(
        b'"image/png" extension="png"', f'"image/{kind}" extension="{suffix}"'.encode()
    )
    assert expected != TILE_MAP
    assert translate_description("tilemapresource.xml", TILE_MAP, form) == expected
    assert translate_description("tilemapresource.xml", expected, "png") == TILE_MAP


def test_nothing_changes_where_nothing_needs_to() -> None:
    for form in ("png", "same"):
        assert translate_description("tilemapresource.xml", TILE_MAP, form) == TILE_MAP
    spaced = b'{ "format":"png",  "name":"a" }'
    assert translate_description("metadata.json", spaced, "png") == spaced
    vector = b'{"format": "pbf", "tiles": ["{z}/{x}/{y}.pbf"]}'
    assert translate_description("metadata.json", vector, "webp") == vector


@pytest.mark.parametrize(
    ("own", "form", "expected"),
    [
        ("png", "jpg", "jpg"),
        ("jpeg", "jpg", "jpg"),
        ("jpg", "same", "jpg"),
        ("jpeg", "same", "jpeg"),
        ("gif", "same", "png"),
        ("png", "tiff", "tif"),
    ],
)
def test_suffixes_are_those_that_outputs_get(own: str, form: str, expected: str) -> None:
    """As ``convert`` names the output of ``0.jpeg``, with ``same`` too."""
    data = json.dumps({"format": own, "tiles": [f"{{z}}/{{x}}/{{y}}.{own}"]}).encode()
    made = translate_description("metadata.json", data, form)
    assert made is not None
    assert json.loads(made) == {"format": expected, "tiles": [f"{{z}}/{{x}}/{{y}}.{expected}"]}


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("{z}/{x}/{y}.png", "{z}/{x}/{y}.jpg"),
        ("./{z}/{x}/{y}.png", "./{z}/{x}/{y}.jpg"),
        ("https://tiles.example/maps/{z}/{x}/{y}.png?key=1", "{z}/{x}/{y}.jpg"),
        ("//tiles.example/{z}/{x}/{-y}.png", "{z}/{x}/{-y}.jpg"),
        ("/maps/{z}/{x}/{y}.png", "{z}/{x}/{y}.jpg"),
    ],
)
def test_addresses_lead_to_the_converted_tiles(address: str, expected: str) -> None:
    values = {"tilejson": "3.0.0", "tiles": [address], "maxzoom": 3, "name": "Karte ä"}
    made = translate_description("tiles.json", json.dumps(values).encode(), "jpg")
    assert made is not None
    assert json.loads(made) == {**values, "tiles": [expected]}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("metadata.json", b"no json"),
        ("metadata.json", b"[1]"),
        ("metadata.json", b"[" * 100_000),
        ("metadata.json", b'{"a": "\xff"}'),
        ("tilemapresource.xml", b"<TileMap></TileMap>"),
        ("tilemapresource.xml", b"\xff"),
    ],
)
def test_what_cannot_be_understood_is_left(name: str, data: bytes) -> None:
    assert translate_description(name, data, "jpg") is None


def test_only_beside_zoom_levels() -> None:
    names = ["metadata.json", "tilemapresource.xml", "labels.json"]
    assert list_descriptions(names, ["0", "12"]) == names[:2]
    assert list_descriptions(names, ["train", "²", "1a"]) == []
    assert [may_be_description(name) for name in names] == [True, True, False]


@given(st.binary(max_size=100), st.sampled_from(["png", "jpg", "same"]))
def test_any_bytes_do_no_harm(data: bytes, form: str) -> None:
    for name in ("metadata.json", "tilemapresource.xml"):
        translate_description(name, data, form)
        translate_description(name, b'{"format": ' + data + b"}", form)
        translate_description(name, b"<TileFormat " + data + b' extension="png"/>', form)
