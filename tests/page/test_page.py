"""The page as a user sees it: upload, hear, play live; and what it says when something is wrong."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from page.opened import chromium, page_for
from playwright.sync_api import Browser, BrowserContext, Page, expect

from prepare import REPOSITORY, build_models
from tritone_build.codecs import variant
from tritone_client.audio import read_audio
from tritonserver import Ports, TritonServer, serving

SPEECH = Path(__file__).resolve().parents[2] / "samples/speech.wav"
PATIENCE_MS = 60_000

MINI = "nanocodec_mini"

Opener = Callable[[str], Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Gone after these tests: its event loop, as long as it runs, would be in the way of asyncio's."""
    with chromium() as launched:
        yield launched


@pytest.fixture(scope="session")
def mini_repository() -> Path:
    """The demo's, so that its models are built once."""
    build_models([(MINI, variant(MINI).source)])
    return REPOSITORY


@pytest.fixture(scope="session")
def mini_server(mini_repository: Path) -> Iterator[TritonServer]:
    with serving(mini_repository, [MINI]) as running:
        yield running


@pytest.fixture(scope="session")
def page_url(mini_server: TritonServer) -> Iterator[str]:
    with page_for(mini_server.url, mini_server.ports.metrics) as url:
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of its own, allowed nothing."""
    opened = browser.new_context(accept_downloads=True)
    yield opened
    opened.close()


@pytest.fixture
def opener(context: BrowserContext) -> Opener:
    """Opens a page and fails on what it asks of other machines."""

    def open_page(url: str) -> Page:
        page = context.new_page()
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        page.goto(url)
        expect(page.locator("#send")).to_be_visible(timeout=PATIENCE_MS)
        return page

    return open_page


@contextmanager
def uploaded(page: Page) -> Iterator[None]:
    """What is done within sends a recording; ends when the page has it."""
    with page.expect_response(lambda response: "/upload" in response.url, timeout=PATIENCE_MS):
        yield


def upload(page: Page, path: Path) -> None:
    expect(page.get_by_label("Codec")).to_have_value(MINI, timeout=PATIENCE_MS)
    with uploaded(page):
        page.locator("#recording input[type=file]").set_input_files(path)
    expect(page.locator("#recording").get_by_label("Clear")).to_be_visible(timeout=PATIENCE_MS)


def send(page: Page, path: Path) -> None:
    upload(page, path)
    page.locator("#send").click()
    expect(page.locator("#picture img")).to_be_visible(timeout=PATIENCE_MS)


def said(page: Page) -> str:
    """The first error that the page shows."""
    toast = page.get_by_test_id("toast-text").first
    expect(toast).to_be_visible(timeout=PATIENCE_MS)
    return toast.inner_text()


def test_speech_comes_back_as_sound_and_picture(opener: Opener, page_url: str, tmp_path: Path) -> None:
    page = opener(page_url)
    send(page, SPEECH)
    expect(page.locator("#facts")).to_contain_text("271 frames of 46.4 ms, 8 tokens each: 1.89 kbit/s")
    with page.expect_download() as download:
        page.locator("#decoded").get_by_label("Download").click()
    download.value.save_as(tmp_path / "decoded.wav")
    audio, rate_hz = read_audio(tmp_path / "decoded.wav")
    assert (len(audio), rate_hz) == (271 * 1024, 22050)
    assert float(np.abs(audio).max()) > 0.05
    page.locator("#decoded").get_by_label("Play", exact=True).click()
    expect(page.locator("#decoded #time")).not_to_have_text("0:00", timeout=PATIENCE_MS)


def test_the_live_player_plays_every_frame_and_says_how_it_fares(
    opener: Opener, page_url: str, tmp_path: Path
) -> None:
    audio, rate_hz = read_audio(SPEECH)
    soundfile.write(tmp_path / "short.wav", audio[: 3 * rate_hz], rate_hz)
    page = opener(page_url)
    page.locator("#start").click()
    expect(page.locator("#live-said")).to_have_text("Send something through the codec first.")
    send(page, tmp_path / "short.wav")
    page.locator("#start").click()
    expect(page.locator("#live-said")).to_contain_text("of 65", timeout=PATIENCE_MS)
    expect(page.locator("#live-streams")).to_have_text("1")
    expect(page.locator("#live-said")).to_have_text("Played 65 frames.", timeout=PATIENCE_MS)
    for part, pattern in (
        ("first", r"^\d+ ms, played 46 ms later$"),
        ("frame", r"^[\d.]+ ms \(longest [\d.]+\) of 46\.4$"),
        ("buffer", r"^\d+ ms$"),
        ("late", r"^\d+$"),
    ):
        expect(page.locator(f"#live-{part}")).to_have_text(re.compile(pattern))


def test_the_live_player_stops_when_told_and_starts_again(opener: Opener, page_url: str) -> None:
    page = opener(page_url)
    send(page, SPEECH)
    for _ in range(2):
        page.locator("#start").click()
        expect(page.locator("#live-said")).to_contain_text("of 271", timeout=PATIENCE_MS)
        page.locator("#stop").click()
        expect(page.locator("#live-said")).to_have_text("Stopped.")


def test_a_server_that_goes_away_while_live_is_told_in_words(opener: Opener, mini_repository: Path) -> None:
    with (
        serving(mini_repository, [MINI]) as server,
        page_for(server.url, server.ports.metrics) as url,
    ):
        page = opener(url)
        send(page, SPEECH)
        page.locator("#start").click()
        expect(page.locator("#live-said")).to_contain_text("Frame 2", timeout=PATIENCE_MS)
        os.killpg(server.pid, signal.SIGKILL)
        expect(page.locator("#live-said")).to_contain_text(server.url, timeout=PATIENCE_MS)
        page.locator("#send").click()
        assert server.url in said(page)


def test_without_a_server_the_page_says_which_it_looked_for(opener: Opener) -> None:
    ports = Ports.free()
    nowhere = f"127.0.0.1:{ports.grpc}"
    with page_for(nowhere, ports.metrics) as url:
        page = opener(url)
        assert nowhere in said(page)


def test_files_that_are_no_sound_or_too_long_are_refused(
    opener: Opener, page_url: str, tmp_path: Path
) -> None:
    (tmp_path / "song.wav").write_text("not sound at all")
    soundfile.write(tmp_path / "hour.wav", np.zeros(3600 * 8000, np.int16), 8000)
    for name, words in (("song.wav", "not an audio file"), ("hour.wav", "60 minutes long")):
        page = opener(page_url)
        upload(page, tmp_path / name)
        page.locator("#send").click()
        assert words in said(page)
        page.close()


def test_a_refused_microphone_is_told(opener: Opener, page_url: str) -> None:
    page = opener(page_url)
    page.locator("#recording").get_by_label("Record audio").click()
    told = re.compile(r"no microphone \(.*\): allow it for this page, or upload a file")
    expect(page.locator("#microphone-said")).to_have_text(told)


def test_a_recording_from_the_microphone_can_be_sent(browser: Browser, page_url: str) -> None:
    context = browser.new_context(permissions=["microphone"])
    page = context.new_page()
    page.goto(page_url)
    expect(page.get_by_label("Codec")).to_have_value(MINI, timeout=PATIENCE_MS)
    recording = page.locator("#recording")
    recording.get_by_label("Record audio").click()
    recording.get_by_role("button", name="Record", exact=True).click()
    stop = recording.get_by_role("button", name="Stop")
    expect(stop).to_be_visible(timeout=PATIENCE_MS)
    page.wait_for_timeout(1500)
    with uploaded(page):
        stop.click()
    expect(recording.get_by_label("Play", exact=True)).to_be_visible(timeout=PATIENCE_MS)
    page.locator("#send").click()
    expect(page.locator("#facts")).to_contain_text("kbit/s", timeout=PATIENCE_MS)
    context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_phone_and_desk(browser: Browser, page_url: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(page_url)
    send(page, SPEECH)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()
