"""The gateway's page in a headless Chromium: speech goes in, and its sound plays as it comes."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.browser import chromium, profile
from helpers.servers.gateways import RunningGateway, running_gateway
from numpy.typing import NDArray
from playwright.sync_api import Browser, expect

KEY = "a-key-for-the-page"
LOUDEST = """() => {
    window.loudest = 0;
    const original = AudioBuffer.prototype.getChannelData;
    const start = AudioBufferSourceNode.prototype.start;
    AudioBufferSourceNode.prototype.start = function (...when) {
        window.loudest = Math.max(window.loudest, ...original.call(this.buffer, 0));
        return start.apply(this, when);
    };
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone after these tests: its event loop, as long as it runs, would be in the way of asyncio's."""
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="module")
def locked(browser: Browser, folder: Path) -> Iterator[RunningGateway]:
    with running_gateway(folder, keys=(KEY,)) as running:
        yield running


def test_the_page_plays_speech_and_tells_of_a_missing_key(
    browser: Browser, locked: RunningGateway, speech: tuple[NDArray[np.float32], int], tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "speech.wav", *speech)
    with profile(browser) as context:
        page = context.new_page()
        page.goto(f"http://{locked.address}/")
        said = page.locator("#said")
        expect(said).to_contain_text("an API key is missing")
        page.evaluate(LOUDEST)
        page.get_by_label("API key").fill(KEY)
        page.get_by_label("Speech").set_input_files(tmp_path / "speech.wav")
        page.get_by_role("button", name="Play").click()
        expect(said).to_have_text(re.compile(r"^33 frames, 1\.5 s of sound\.$"))
        assert 0.05 < page.evaluate("window.loudest") <= 1
        page.goto(f"http://{locked.address}/docs")
        expect(page.locator("#requests")).to_contain_text("POST /v1/encode")
