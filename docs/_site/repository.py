"""Files of the repository that stand outside ``docs``, in the site.

Pages link to them by relative paths, as a forge follows them. Those that are there become files of
the site under ``repository/``, Markdown as pages, and the links lead there.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = "repository"
"""Where files from outside ``docs`` lie in the site."""

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md")
"""Pages that stand outside ``docs`` and are in the navigation."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#|/)([^)\s#]+)")
"""The target of a relative Markdown link or picture, without its anchor."""

ROOT = Path(__file__).parents[2]


def in_repository(page: str) -> str:
    """The path within the repository of a page of the site."""
    outside = page.removeprefix(f"{HERE}/")
    return outside if outside != page else f"docs/{page}"


def in_site(path: str) -> str:
    """The path within the site of a file of the repository."""
    inside = path.removeprefix("docs/")
    return inside if inside != path else f"{HERE}/{path}"


def on_files(files: Files, *, config: Any) -> Files:
    """Add PAGES, what pages link to outside ``docs``, and what those link to."""
    pending = [file.src_uri for file in files.documentation_pages()] + [in_site(p) for p in PAGES]
    while pending:
        page = pending.pop()
        if page not in files.src_uris:
            source = str(ROOT / in_repository(page))
            files.append(File.generated(config, page, abs_src_path=source))
        if page.endswith(".md"):
            text = (ROOT / in_repository(page)).read_text(encoding="utf-8")
            targets = (in_site(target) for target in targets_of(text, page))
            pending += [target for target in targets if target not in files.src_uris]
    return files


def targets_of(text: str, page: str) -> list[str]:
    """The files of the repository, in ``docs`` or outside, that a page links to."""
    folder = posixpath.dirname(in_repository(page))
    paths = (posixpath.normpath(posixpath.join(folder, link)) for link in LINK.findall(text))
    return [path for path in paths if (ROOT / path).is_file() and not path.startswith("..")]


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Turn links as a forge follows them into links within the site."""
    here = page.file.src_uri

    def turned(match: re.Match[str]) -> str:
        found = targets_of(f"]({match[1]})", here)
        if not found:
            return match[1]  # for MkDocs to complain of
        return posixpath.relpath(in_site(found[0]), posixpath.dirname(here) or ".")

    return LINK.sub(turned, markdown)
