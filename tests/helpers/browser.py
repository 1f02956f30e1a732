"""The web page, served by ``tritone page``, in a headless Chromium."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from helpers.programs import needs
from tritone_server.launcher import Ports

PATIENCE_MS = 180_000
"""Limit of every wait: only something that hangs takes this long, even on a busy machine."""
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
_SOUND = ("--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Launch Chromium; skip the test if it is not installed."""
    executable = needs("chromium")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=executable, args=[*_FLAGS, *_SOUND], timeout=PATIENCE_MS
        )
        yield launched
        launched.close()


@contextmanager
def profile(browser: Browser, **options: Any) -> Iterator[BrowserContext]:
    """A new browser context, which shares nothing with other tests."""
    opened = browser.new_context(**options)
    opened.set_default_timeout(PATIENCE_MS)
    yield opened
    opened.close()


@contextmanager
def held_back(page: Page, pattern: str) -> Iterator[None]:
    """Hold back the page's requests that match ``pattern`` until the context ends; at least one must come."""
    held: list[Route] = []
    page.route(pattern, lambda route: held.append(route))  # noqa: PLW0108, playwright takes no built-in
    with page.expect_request(pattern):
        yield
    page.route(pattern, lambda route: route.continue_())
    for route in held:
        route.continue_()


@contextmanager
def uploaded(page: Page) -> Iterator[None]:
    """The context sends a recording; wait until the page has it."""
    with page.expect_response(re.compile(r"/upload(\?|$)")):
        yield


def upload(page: Page, path: Path) -> None:
    """Give the page a recording, once it shows a codec."""
    expect(page.get_by_label("Codec")).not_to_have_value("")
    with uploaded(page):
        page.locator("#recording input[type=file]").set_input_files(path)
    expect(page.locator("#recording").get_by_label("Clear")).to_be_visible()


def send(page: Page, path: Path) -> None:
    """Send a recording through the codec, and wait for what comes back."""
    upload(page, path)
    page.locator("#send").click()
    expect(page.locator("#picture img")).to_be_visible()


class Texts:
    """Records every text that an element shows from now on, however briefly."""

    def __init__(self, page: Page, element: str):
        self._page, self._name = page, f"texts of {element}"
        page.evaluate(
            """([name, element]) => {
                const texts = window[name] = [];
                new MutationObserver((records) => {
                    const added = records.flatMap((record) => [...record.addedNodes]);
                    texts.push(...added.map((node) => node.textContent));
                }).observe(document.getElementById(element), { childList: true });
            }""",
            [self._name, element],
        )

    def so_far(self) -> list[str]:
        """All texts that were shown until now."""
        shown: list[str] = self._page.evaluate("name => window[name]", self._name)
        return shown

    def wait_for(self, text: str) -> None:
        """Wait until a text is shown; return at once if it was shown before."""
        self._page.wait_for_function("([name, text]) => window[name].includes(text)", arg=[self._name, text])


@contextmanager
def page_for(url: str, metrics_port: int) -> Iterator[str]:
    """Serve a page for the server at ``url``, which need not run; yield the page's address."""
    port = Ports.free().http
    command = [str(Path(sys.executable).with_name("tritone")), "page", "--port", str(port)]
    options = ["--url", url, "--metrics", f"127.0.0.1:{metrics_port}"]
    with subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert f"open http://127.0.0.1:{port};" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
