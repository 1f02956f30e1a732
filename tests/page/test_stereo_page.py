"""The page with a stereo codec: both channels come back, whole and live."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.browser import chromium, page_for, profile, send
from helpers.comparison import against_whole
from helpers.workers import locked
from numpy.typing import NDArray
from playwright.sync_api import Page, expect

from scripts.common.prepare import build_models
from scripts.common.small_codecs import SMALL
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_client import Codec
from tritone_client.inputs.audio import read_audio
from tritone_server.cache import CACHE
from tritone_server.launcher import TritonServer, serving

pytestmark = pytest.mark.needs("chromium")
NAME, HOP, FRAMES = "stereo_for_browsers", 16, 100
RATE_HZ = 3200
"""Small codecs have lower rates, but browsers play no audio below 3000 Hz."""
KEEP_WHAT_IS_PLAYED = """
    window.played = [];
    const create = BaseAudioContext.prototype.createBuffer;
    BaseAudioContext.prototype.createBuffer = function (...sizes) {
        const buffer = create.apply(this, sizes);
        window.played.push(buffer);
        return buffer;
    };
"""


@pytest.fixture(scope="module")
def stereo_server() -> Iterator[TritonServer]:
    config = {**SMALL["small_moss_nano"], "sampling_rate": RATE_HZ}
    with locked("page_models"):
        checkpoint = write_fixture(config, CACHE / "page_checkpoints" / NAME)
        build_models([(NAME, str(checkpoint))], CACHE / "page_models")
    with serving(CACHE / "page_models", [NAME]) as running:
        yield running


@pytest.fixture(scope="module")
def codec(stereo_server: TritonServer) -> Iterator[Codec]:
    with Codec(NAME, stereo_server.url) as opened:
        yield opened


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """Another noise in each channel."""
    audio = 0.2 * np.random.default_rng(0).standard_normal((FRAMES * HOP, 2))
    soundfile.write(tmp_path / "stereo.wav", audio, RATE_HZ)
    return tmp_path / "stereo.wav"


@pytest.fixture
def page(stereo_server: TritonServer) -> Iterator[Page]:
    with (
        page_for(stereo_server.url, stereo_server.ports.metrics) as url,
        chromium() as browser,
        profile(browser) as context,
    ):
        opened = context.new_page()
        opened.add_init_script(KEEP_WHAT_IS_PLAYED)
        opened.goto(url)
        yield opened


def played(page: Page) -> NDArray[np.float32]:
    """Audio [2, S] that the live player gave to the browser."""
    channels = page.evaluate(
        """hop => played.filter((buffer) => buffer.length === hop)
            .map((buffer) => [0, 1].map((channel) => [...buffer.getChannelData(channel)]))""",
        HOP,
    )
    return np.concatenate(np.array(channels, np.float32), axis=-1)


def test_both_channels_come_back_whole_and_live(page: Page, codec: Codec, recording: Path) -> None:
    tokens = codec.encode(*read_audio(recording, 2))
    whole = codec.decode(tokens)
    send(page, recording)
    with page.expect_download() as download:
        page.locator("#decoded").get_by_label("Download").click()
    download.value.save_as(recording.with_name("decoded.wav"))
    decoded, rate_hz = read_audio(recording.with_name("decoded.wav"), 2)
    assert (decoded.shape, rate_hz) == ((2, FRAMES * HOP), RATE_HZ)
    assert np.abs(decoded - np.clip(whole, -1, 1)).max() < 2 / 32767
    page.locator("#start").click()
    expect(page.locator("#live-said")).to_have_text(f"Played {FRAMES} frames.")
    found = against_whole(codec, tokens, played(page), whole)
    assert found.ok, found
