"""A check that the site's pages load nothing from elsewhere: they are read offline too."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

from mkdocs.exceptions import PluginError

LOADING = {("script", "src"), ("img", "src"), ("link", "href"), ("iframe", "src")}
"""Tags whose attribute is fetched when a page is looked at."""


class Loads(HTMLParser):
    """Collects in ``foreign`` what a page would load from another host."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if dict(attrs).get("rel") in ("canonical", "next", "prev"):  # not fetched
            return
        self.foreign += [
            value
            for name, value in attrs
            if value and (tag, name) in LOADING and re.match(r"(https?:)?//", value)
        ]


def on_post_page(output: str, *, page: Any, **_: Any) -> str:
    """Raises ``PluginError`` where a page would load something from elsewhere."""
    loads = Loads()
    loads.feed(output)
    if loads.foreign:
        raise PluginError(f"{page.file.src_uri}: loads {', '.join(loads.foreign)}; keep it here")
    return output
