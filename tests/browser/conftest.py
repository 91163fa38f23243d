"""Real pages in a real browser, against a real server; skipped where there is no browser."""

from __future__ import annotations

import importlib.util
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from scripts import chromium
from tests.database import Clone
from tests.live_desk import LiveDesk

#: The first test waits for the static files to be compressed, and for a server and a browser to start.
SECONDS_MAX = 300

if TYPE_CHECKING:  # Django is not set up yet when pytest reads this module
    from tests.browser.visit import SignIn, Visit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = ""
    if chromium.find() is None:
        missing = chromium.MISSING
    elif importlib.util.find_spec("playwright") is None:
        missing = "playwright is not installed"
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        if missing:
            item.add_marker(pytest.mark.skip(reason=f"{missing} (`make browser-test` installs what it can)"))
        item.add_marker(pytest.mark.timeout(SECONDS_MAX))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Playwright runs an event loop in this thread, beside which Django would refuse to ask the database."""
    from playwright.sync_api import sync_playwright

    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium.find(), args=list(chromium.FLAGS))
        yield opened
        opened.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def visit(browser: Any, live_desk: LiveDesk, committed_db: Clone) -> Iterator[Callable[[], Visit]]:
    """Opens windows that share no cookies. Afterwards none of them may have complained, or asked another host."""
    from tests.browser.visit import WINDOW, Visit

    visits: list[Visit] = []

    def open_window() -> Visit:
        context = browser.new_context(viewport=WINDOW, accept_downloads=True)
        visits.append(Visit(live_desk.url, context.new_page()))
        return visits[-1]

    yield open_window
    for opened in visits:
        opened.page.context.close()
    assert [complaint for opened in visits for complaint in opened.complaints] == []


@pytest.fixture
def sign_in(visit: Callable[[], Visit]) -> SignIn:
    """Opens a window for a new member of staff: password, code, and in."""
    from tests import factories
    from tests.browser.visit import enlist

    def go(role: str, number: int = 1) -> Visit:
        opened, key = visit(), secrets.token_bytes(20)
        opened.log_in(enlist(role, key=key, number=number).email, factories.PASSWORD, key)
        assert "/login/" not in opened.page.url, opened.text()
        return opened

    return go
