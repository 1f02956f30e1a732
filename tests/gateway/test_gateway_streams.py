"""What comes through a gateway's sockets is what the codec gives, whatever the format and the pieces."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.servers.gateways import RunningGateway, frames_of, running_gateway
from numpy.typing import NDArray

from tritone_client import Codec
from tritone_client.gateway.sockets.inbox import Inbox

Tokens = NDArray[np.int64]
MINI = "codec=nanocodec_mini"


def decibels(found: NDArray[np.float32], whole: NDArray[np.float32]) -> float:
    noise = float(np.mean((found.astype(float) - whole) ** 2)) or 1e-30
    return float(10 * np.log10(float(np.mean(whole.astype(float) ** 2)) / noise))


@pytest.mark.parametrize("query", ["", "&first=1&then=8", "&tokens=int16", "&tokens=int32&then=5"])
def test_a_stream_in_pieces_equals_the_whole(
    query: str, gateway: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    parts = np.array_split(tokens, 9, axis=1)
    messages: list[object] = [{"frames": frames_of(part)} for part in parts]
    if "tokens=" in query:
        kind = "<i2" if "int16" in query else "<i4"
        messages = [np.ascontiguousarray(part.T).astype(kind).tobytes() for part in parts]
    with gateway.talk(f"{MINI}&format=float32{query}") as talk:
        sound, facts, summary = talk.said_all(messages)
    assert decibels(np.frombuffer(sound, "<f4"), mini.decode(tokens)) > 100
    assert (facts["sample_rate"], facts["channels"], facts["codebooks"]) == (22050, 1, 8)
    assert summary["frames"] == tokens.shape[1]


def test_a_message_may_be_a_frame_a_list_of_frames_or_the_end_itself(
    gateway: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    frames = frames_of(tokens)
    with gateway.talk("format=float32") as talk:
        talk.send({"frames": frames[0]})
        talk.send({"frames": []})
        talk.send(frames[1:20])
        talk.send({"frames": frames[20:], "end": True})
        sound, said, code, _ = talk.rest()
    assert decibels(np.frombuffer(b"".join(sound), "<f4"), mini.decode(tokens)) > 100
    assert [list(each) for each in said] == [["start"], ["summary"]]
    assert code == 1000


@pytest.mark.parametrize(("name", "dtype"), [("pcm16", "int16"), ("mulaw", "mulaw"), ("alaw", "alaw")])
def test_formats_and_rates_are_those_of_the_client(
    name: str, dtype: str, gateway: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    with gateway.talk(f"format={name}&sample_rate=8000") as talk:
        sound, facts, summary = talk.said_all([{"frames": frames_of(tokens)}])
    with mini.decode_stream(sample_rate_hz=8000, dtype=dtype) as stream:
        expected = np.concatenate([stream.push(tokens), stream.close()])
        assert summary["delay_ms"] == stream.delay_ms
    assert facts["sample_rate"] == 8000
    found = np.frombuffer(sound, expected.dtype).astype(int)
    assert len(found) == len(expected)
    assert np.mean(np.abs(found - expected) <= 1) > 0.99  # requests of other sizes round otherwise


def test_opus_is_an_ogg_file_that_comes_bit_by_bit(
    gateway: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    with gateway.talk("format=opus") as talk:
        for frame in frames_of(tokens):
            talk.send({"frames": frame})
        talk.send({"end": True})
        parts, said, code, _ = talk.rest()
    assert code == 1000
    assert len(parts) > tokens.shape[1] // 2
    audio, rate_hz = soundfile.read(io.BytesIO(b"".join(parts)), dtype="float32")
    whole = mini.decode(tokens, sample_rate_hz=24000)
    assert rate_hz == said[0]["start"]["sample_rate"] == 24000
    assert abs(len(audio) - len(whole)) <= 480
    shared = min(len(audio), len(whole))
    assert np.corrcoef(audio[:shared], whole[:shared])[0, 1] > 0.8


def test_sound_behind_a_prefix_continues_the_whole(
    gateway: RunningGateway, mini: Codec, tokens: Tokens
) -> None:
    voice, rest = frames_of(tokens)[:10], frames_of(tokens)[10:]
    with gateway.talk("format=float32") as talk:
        sound, _, summary = talk.said_all([{"prefix": voice}, {"frames": rest}])
    whole = mini.decode(tokens)[10 * mini.info.samples_per_frame :]
    assert decibels(np.frombuffer(sound, "<f4"), whole) > 100
    assert summary["frames"] == len(rest)


@pytest.mark.parametrize("kind", ["json", "int16"])
def test_audio_becomes_the_tokens_of_the_whole(
    kind: str, gateway: RunningGateway, speech: tuple[NDArray[np.float32], int], mini: Codec
) -> None:
    pcm = np.round(speech[0] * 32767).astype("<i2")
    expected = mini.encode(pcm.astype(np.int16), speech[1], dtype="int16")
    with gateway.talk(f"direction=encode&sample_rate={speech[1]}&tokens={kind}") as talk:
        for part in np.array_split(pcm, 7):
            talk.send(part.tobytes())
        talk.send({"end": True})
        binary, said, code, _ = talk.rest()
    assert code == 1000
    frames = [frame for each in said for frame in each.get("frames", [])]
    found = np.array(frames) if kind == "json" else np.frombuffer(b"".join(binary), "<i2").reshape(-1, 8)
    assert found.T.shape == expected.shape
    assert np.mean(expected == found.T) > 0.99
    assert said[-1]["summary"]["frames"] == expected.shape[1]


def test_an_inbox_is_full_at_its_limit_and_empty_messages_count() -> None:
    inbox = Inbox(1000)
    for _ in range(20):
        inbox.put(b"")
    assert not inbox.has_room.is_set()


def test_tokens_that_int16_cannot_hold_are_refused(repository: Path) -> None:
    with running_gateway(repository) as many:
        for direction in ("decode", "encode"):
            with many.talk(f"codec=small_spectral_25fps&tokens=int16&direction={direction}") as talk:
                kind, message, _ = talk.refusal()
            assert kind == "ParameterError"
            assert "are 0..65535, got tokens=int16" in message
