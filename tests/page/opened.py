"""The page, served by its command, in a real Chromium without a window."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright
from programs import needs

from tritonserver import Ports

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking")
_SOUND = ("--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Skips the test where there is none."""
    executable = needs("chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=executable, args=[*_FLAGS, *_SOUND])
        yield launched
        launched.close()


@contextmanager
def page_for(url: str, metrics_port: int) -> Iterator[str]:
    """Address of a page for the server at ``url``, whether that runs or not."""
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
