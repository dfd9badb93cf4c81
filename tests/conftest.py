"""What many tests share: a folder for fixtures, and Debian's Chromium for the tests of pages.

Where there is no Chromium they are skipped, but not in CI.
"""

import contextlib
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

ARGUMENTS = (
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

# Opens a file in a page of its own, with what Browser.new_context takes.
Open = Callable[..., Any]


@pytest.fixture(autouse=True)
def warnings_are_heard() -> Iterator[None]:
    """Some commands turn logging off for good, and what was said is what later tests look at."""
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """Some commands heed the first signal alone for good, and a later test sends one."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for fixtures."""
    return tmp_path_factory.mktemp("fixtures")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser for the whole session."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        reason = "no Chromium on the PATH: apt-get install chromium"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What pages said, asked for or ran beside what they are for."""
    return []


@pytest.fixture
def opened(chromium: Any, complaints: list[str]) -> Iterator[Open]:
    """Opens files as a reader does; at the end there may be no complaints."""
    contexts: list[Any] = []

    def open_file(path: Path, fragment: str = "", **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}") or dialog.dismiss())
        page.on("request", lambda request: None if request.url.startswith("file:") else complaints.append(request.url))
        page.goto(path.as_uri() + fragment)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="session")
def quanto_unpacks_in_torch() -> None:
    """quanto compiles what unpacks its codes where it is first asked to, which takes longer than any test."""
    with contextlib.suppress(ImportError):
        import torch
        from optimum.quanto.library.extensions import get_extension

        def unpack(packed: Any, bits: int) -> Any:
            return torch.cat([packed >> shift & 2**bits - 1 for shift in range(0, 8, bits)])

        get_extension("quanto_cpp")._lib = SimpleNamespace(unpack=unpack)
