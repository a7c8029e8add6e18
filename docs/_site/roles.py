"""Cross-references of docstrings, written as Sphinx roles, as links of the site."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|data|func|meth|mod):`~?([\w.]+)`")


class Roles(griffe.Extension):
    """``:class:`Name``` becomes a link to where ``Name`` is documented, if it is."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is None or isinstance(obj, griffe.Alias):
            return

        def linked(match: re.Match[str]) -> str:
            name = match[1]
            try:
                path = obj.resolve(name)
            except griffe.NameResolutionError:
                path = name
            return f'<autoref optional identifier="{path}"><code>{name}</code></autoref>'

        obj.docstring.value = ROLE.sub(linked, obj.docstring.value)
