"""The page, built of Gradio's components."""

import html
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from tritone_client.cli.pcm import pcm_of
from tritone_client.codec import Codec
from tritone_client.errors import TritoneError
from tritone_client.info import CodecInfo
from tritone_client.inputs.audio import resampled
from tritone_client.page.figures import figure_of
from tritone_client.page.recordings import Recordings, read_recording
from tritone_client.served import served_codecs

__all__ = ["page_of"]

_TIMEOUT_S = 60.0
_INTRODUCTION = """# Tritone
Speech goes to the server, becomes tokens, and comes back. Choose a codec, give it a recording, and listen."""


class Shown(NamedTuple):
    """What the page shows for one recording: audio, picture, facts, the name of its tokens, an error."""

    decoded: tuple[int, NDArray[np.int16]] | None = None
    picture: Figure | None = None
    facts: str = ""
    name: str = ""
    alert: str = ""


@dataclass(frozen=True)
class Page:
    """The actions of the page; ``url`` is a server's address or the folder of a repository."""

    url: str | Path
    recordings: Recordings

    def codecs(self) -> tuple[dict[str, Any], str]:
        """The codecs that there are now, for the choice, and an error."""
        try:
            names = served_codecs(self.url)
        except Exception as error:
            return gr.update(choices=[], value=None), _alert(_words(error))
        return gr.update(choices=names, value=names[0] if names else None), ""

    def convert(self, name: str | None, recording: str | None) -> Iterator[tuple[Any, ...]]:
        """Clear the alert, so that a repeated message is seen as a new one; then show the result."""
        yield (*[gr.skip()] * (len(Shown._fields) - 1), "")
        yield self._shown(name, recording)

    def _shown(self, name: str | None, recording: str | None) -> Shown:
        if not name:
            words = f"No codec: the server at {self.url} had none, or did not answer; reload when it does."
        elif not recording:
            words = "Nothing to send: upload a file or record something first."
        else:
            try:
                return self._converted(name, Path(recording))
            except Exception as error:
                words = _words(error)
        return Shown(alert=_alert(words))

    def _converted(self, name: str, path: Path) -> Shown:
        with Codec(name, self.url, _TIMEOUT_S) as codec:
            info = codec.info
            audio, rate_hz = read_recording(path, info.num_channels)
            begun = time.perf_counter()
            tokens = codec.encode(audio, rate_hz)
            encoded = time.perf_counter()
            decoded = codec.decode(tokens)
            ended = time.perf_counter()
        figure = figure_of(info, resampled(audio, rate_hz, info.encode_sample_rate_hz), tokens, decoded)
        facts = _facts(info, tokens, encoded - begun, ended - encoded)
        return Shown((info.sample_rate_hz, pcm_of(decoded.T)), figure, facts, self.recordings.keep(tokens))


def _words(error: Exception) -> str:
    """Message for an error; the terminal gets the traceback of an unexpected one."""
    if isinstance(error, TritoneError):
        return str(error)
    traceback.print_exception(error)
    return f"The page itself failed ({type(error).__name__}: {error}); its terminal says where."


def _alert(words: str) -> str:
    """An error, which screen readers read out at once; it stays until the next recording is sent."""
    return f'<p role="alert">{html.escape(words)}</p>'


def _facts(info: CodecInfo, tokens: NDArray[np.int64], encode_s: float, decode_s: float) -> str:
    books, frames = tokens.shape
    seconds = frames / info.frame_rate_hz
    return (
        f"{seconds:.1f} s became {frames} frames of {1000 / info.frame_rate_hz:.1f} ms, {books} tokens each: "
        f"**{info.bitrate_bps / 1000:.2f} kbit/s**. Encoded in {1000 * encode_s:.0f} ms, decoded in "
        f"{1000 * decode_s:.0f} ms."
    )


def page_of(url: str | Path, recordings: Recordings) -> gr.Blocks:
    """The page; ``url`` is a server's address or the folder of a repository."""
    page = Page(url, recordings)
    blocks: gr.Blocks = gr.Blocks(title="Tritone", analytics_enabled=False)
    with blocks:
        gr.Markdown(_INTRODUCTION)
        with gr.Row():
            with gr.Column():
                codec, recording, send, alert = _sending()
            with gr.Column():
                decoded = gr.Audio(
                    label="What came back", interactive=False, elem_id="decoded", buttons=["download"]
                )
                facts = gr.Markdown(elem_id="facts")
        name = gr.Textbox(visible="hidden", elem_id="tokens")
        _live(codec, name)
        picture = gr.Plot(show_label=False, elem_id="picture")
        shown = [decoded, picture, facts, name, alert]
        send.click(page.convert, [codec, recording], shown, show_progress_on=[decoded, picture])
        blocks.load(page.codecs, None, [codec, alert], show_progress_on=codec)
    return blocks


def _sending() -> tuple[gr.Dropdown, gr.Audio, gr.Button, gr.HTML]:
    """The inputs. Messages are below the button, so that they do not move it away from the pointer."""
    codec = gr.Dropdown(label="Codec", elem_id="codec", interactive=True)
    recording = gr.Audio(
        label="Recording",
        sources=["upload", "microphone"],
        type="filepath",
        elem_id="recording",
        buttons=["download"],
    )
    send = gr.Button("Send through the codec", variant="primary", elem_id="send")
    gr.HTML('<p id="microphone-said" role="alert"></p>', elem_id="microphone")
    return codec, recording, send, gr.HTML(elem_id="alert")


def _live(codec: gr.Dropdown, name: gr.Textbox) -> None:
    """The live player (page.js), which plays the tokens called ``name``."""
    gr.Markdown("## Live\nThe same tokens, one frame at a time, as a language model would emit them.")
    with gr.Row():
        start = gr.Button("Play live", elem_id="start")
        stop = gr.Button("Stop", elem_id="stop")
    gr.HTML(files(__package__).joinpath("live.html").read_text())
    start.click(None, [codec, name], js="(codec, name) => { tritoneLive.start(codec, name); }")
    stop.click(None, js="() => { tritoneLive.halt(); }")
