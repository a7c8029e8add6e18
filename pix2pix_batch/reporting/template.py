"""The look of the pages that commands leave: one file each, which loads nothing from elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
from pathlib import Path
from typing import Any

import jinja2


def render(template: Path, **values: Any) -> str:
    """The page of ``template``, which extends ``template.html``. All values are escaped.

    The page's own script is the only one that runs in it: its policy names the script's hash.
    """
    page = _compile(template)
    script = "".join(page.blocks["script"](page.new_context(values)))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return page.render(**values, script_hash=f"sha256-{digest}")


def data_uri(kind: str, data: bytes) -> str:
    """An image within a page. ``kind``: such as ``png``."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode()


@functools.cache
def _compile(template: Path) -> jinja2.Template:
    """Once for a process, since compiling takes longer than a page of few images does."""
    folders = [template.parent, Path(__file__).parent]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["counted"] = "{:,}".format
    return environment.get_template(template.name)
