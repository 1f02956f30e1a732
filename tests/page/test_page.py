"""The page as a user sees it: upload, hear, play live; and what it says when something is wrong."""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.browser import Texts, chromium, held_back, page_for, profile, send, upload, uploaded
from helpers.paths import ROOT
from playwright.sync_api import Browser, BrowserContext, Page, expect

from scripts.common.prepare import REPOSITORY, build_models
from tritone_build.codecs import variant
from tritone_client.inputs.audio import read_audio
from tritone_server.launcher import Ports, TritonServer, serving

SPEECH = ROOT / "samples/speech.wav"
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
    """Allowed nothing."""
    with profile(browser) as opened:
        yield opened


@pytest.fixture
def opener(context: BrowserContext) -> Opener:
    """Opens a page and fails on what it asks of other machines."""

    def open_page(url: str) -> Page:
        page = context.new_page()
        page.route(re.compile(r"^https?://(?!127\.0\.0\.1)"), lambda route: route.abort())
        page.goto(url)
        expect(page.locator("#send")).to_be_visible()
        return page

    return open_page


def expect_alert(page: Page, words: str) -> None:
    expect(page.locator("#alert").get_by_role("alert")).to_contain_text(words)


def speech_of(seconds: int, path: Path) -> Path:
    audio, rate_hz = read_audio(SPEECH)
    soundfile.write(path, np.resize(audio, seconds * rate_hz), rate_hz)
    return path


def test_speech_comes_back_as_sound_and_picture(opener: Opener, page_url: str, tmp_path: Path) -> None:
    page = opener(page_url)
    expect(page.get_by_label("Codec")).to_have_value(MINI)
    send(page, SPEECH)
    expect(page.locator("#facts")).to_contain_text("271 frames of 46.4 ms, 8 tokens each: 1.89 kbit/s")
    with page.expect_download() as download:
        page.locator("#decoded").get_by_label("Download").click()
    download.value.save_as(tmp_path / "decoded.wav")
    audio, rate_hz = read_audio(tmp_path / "decoded.wav")
    assert (len(audio), rate_hz) == (271 * 1024, 22050)
    assert float(np.abs(audio).max()) > 0.05
    page.locator("#decoded").get_by_label("Play", exact=True).click()
    expect(page.locator("#decoded #time")).not_to_have_text("0:00")


def test_the_live_player_plays_every_frame_and_says_how_it_fares(
    opener: Opener, page_url: str, tmp_path: Path
) -> None:
    page = opener(page_url)
    page.locator("#start").click()
    expect(page.locator("#live-said")).to_have_text("Send something through the codec first.")
    send(page, speech_of(3, tmp_path / "short.wav"))
    said = Texts(page, "live-said")
    page.locator("#start").click()
    expect(page.locator("#live-said")).to_have_text("Played 65 frames.")
    frames = [f"Frame {number} of 65" for number in range(1, 66)]
    assert said.so_far() == ["Connecting …", *frames, "Played 65 frames."]
    expect(page.locator("#live-streams")).to_have_text("1")
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
        said = Texts(page, "live-said")
        page.locator("#start").click()
        said.wait_for("Frame 1 of 271")
        page.locator("#stop").click()
        expect(page.locator("#live-said")).to_have_text("Stopped.")


def test_a_server_that_goes_away_while_live_is_told_in_words(
    opener: Opener, mini_repository: Path, tmp_path: Path
) -> None:
    with (
        serving(mini_repository, [MINI]) as server,
        page_for(server.url, server.ports.metrics) as url,
    ):
        page = opener(url)
        send(page, speech_of(60, tmp_path / "long.wav"))
        said = Texts(page, "live-said")
        page.locator("#start").click()
        said.wait_for("Frame 2 of 1292")
        os.killpg(server.pid, signal.SIGKILL)
        expect(page.locator("#live-said")).to_contain_text(server.url)
        page.locator("#send").click()
        expect_alert(page, server.url)


def test_without_a_server_the_page_says_which_it_looked_for(opener: Opener) -> None:
    ports = Ports.free()
    nowhere = f"127.0.0.1:{ports.grpc}"
    with page_for(nowhere, ports.metrics) as url:
        page = opener(url)
        expect_alert(page, nowhere)


def test_files_that_are_no_sound_or_too_long_are_refused(
    opener: Opener, page_url: str, tmp_path: Path
) -> None:
    (tmp_path / "song.wav").write_text("not sound at all")
    soundfile.write(tmp_path / "hour.wav", np.zeros(3600 * 8000, np.int16), 8000)
    for name, words in (
        ("song.wav", "not an audio file that can be read: Format not recognised"),
        ("hour.wav", "60 minutes long"),
    ):
        page = opener(page_url)
        upload(page, tmp_path / name)
        page.locator("#send").click()
        expect_alert(page, words)
        page.close()


def test_an_error_replaces_what_came_back_and_stays_until_the_next_is_sent(
    opener: Opener, page_url: str, tmp_path: Path
) -> None:
    page = opener(page_url)
    for _ in range(2):
        send(page, speech_of(1, tmp_path / "short.wav"))
        expect(page.locator("#alert").get_by_role("alert")).to_be_hidden()
        page.locator("#recording").get_by_label("Clear").click()
        page.locator("#send").click()
        expect_alert(page, "Nothing to send: upload a file or record something first.")
        expect(page.locator("#picture img")).to_be_hidden()
        expect(page.locator("#facts")).to_have_text("")


def test_the_button_stays_under_a_pointer_that_presses_it_while_the_recording_loads(
    opener: Opener, page_url: str, tmp_path: Path
) -> None:
    (tmp_path / "song.wav").write_text("not sound at all")
    page = opener(page_url)
    with held_back(page, "**/file=**"):
        upload(page, tmp_path / "song.wav")
        page.locator("#send").hover()
        page.mouse.down()
    expect(page.get_by_test_id("audio-player-Recording")).to_be_visible()  # what a failed player becomes
    page.mouse.up()
    expect_alert(page, "not an audio file")


def test_a_refused_microphone_is_told(opener: Opener, page_url: str) -> None:
    page = opener(page_url)
    page.locator("#recording").get_by_label("Record audio").click()
    told = re.compile(r"no microphone \(.*\): allow it for this page, or upload a file")
    expect(page.locator("#microphone-said")).to_have_text(told)


def test_a_recording_from_the_microphone_can_be_sent(browser: Browser, page_url: str) -> None:
    with profile(browser, permissions=["microphone"]) as context:
        page = context.new_page()
        page.goto(page_url)
        expect(page.get_by_label("Codec")).to_have_value(MINI)
        recording = page.locator("#recording")
        recording.get_by_label("Record audio").click()
        recording.get_by_role("button", name="Record", exact=True).click()
        expect(recording.locator("time.duration")).to_have_text(re.compile("[1-9]$"))
        with uploaded(page):
            recording.get_by_role("button", name="Stop").click()
        expect(recording.get_by_label("Play", exact=True)).to_be_visible()
        page.locator("#send").click()
        expect(page.locator("#facts")).to_contain_text("kbit/s")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_phone_and_desk(browser: Browser, page_url: str, width: int) -> None:
    with profile(browser, viewport={"width": width, "height": 900}) as context:
        page = context.new_page()
        page.goto(page_url)
        send(page, SPEECH)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
