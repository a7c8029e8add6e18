"""A headless Chromium that is installed already, to open the pages that commands leave."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import PATIENCE

MILLISECONDS = 1000 * PATIENCE
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def chromium() -> str:
    """Its path: ``$CHROMIUM``, or by its usual names. Skips the test where there is none."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium is installed (name it in $CHROMIUM)")
    return found


@contextmanager
def launched() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium(),
            args=[
                "--no-sandbox",  # which needs privileges that containers do not give
                *("--disable-gpu", "--disable-software-rasterizer"),  # a second process that draws
            ],
            timeout=MILLISECONDS,
        )
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """A page in a context of its own; :meth:`check` and :meth:`close` see that all went well."""

    def __init__(self, browser: Any, path: Path, **options: Any) -> None:
        given = {"viewport": {"width": 1280, "height": 900}, **options}
        self.context = browser.new_context(**given)
        self.context.set_default_timeout(MILLISECONDS)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._note)
        self.show(path)

    def show(self, path: Path) -> Any:
        """Another page in place of this one, or this one anew, which is cheaper than to open it."""
        self.url = path.resolve().as_uri()
        self.page.mouse.move(0, 0)
        self.page.goto(self.url)
        return self.page

    def _note(self, request: Any) -> None:
        if request.url != self.url and not request.url.startswith("data:"):
            self.wrong.append(f"asked for {request.url}")

    def check(self) -> None:
        wrong, self.wrong = self.wrong, []
        assert wrong == []

    def close(self) -> None:
        self.context.close()
        self.check()
