"""A gateway to a server, and one that runs the models itself, give what the client gives; in stereo too."""

import numpy as np
import pytest
from helpers.place import Place
from helpers.servers.gateways import frames_of, running_gateway
from helpers.signals import sound, tokens_of

from tritone_client import Codec, served_codecs


@pytest.mark.parametrize("name", ["small_nanocodec", "small_moss_nano"])
def test_streams_and_facts_are_those_of_the_place(name: str, place: Place) -> None:
    with Codec(name, place) as codec, running_gateway(place) as gateway:
        info = codec.info
        tokens = tokens_of(info, 30)
        with gateway.talk(f"codec={name}&format=float32&codebooks={info.num_codebooks}") as talk:
            heard, facts, _ = talk.said_all([{"frames": frame} for frame in frames_of(tokens)])
        assert facts["channels"] == info.num_channels
        whole, found = codec.decode(tokens), np.frombuffer(heard, "<f4")
        assert np.allclose(found, whole.T.ravel(), atol=1e-4 * np.abs(whole).max())
        audio = sound(info, 9)
        with gateway.talk(f"codec={name}&direction=encode&format=float32") as talk:
            for piece in np.array_split(audio, 4, axis=-1):
                talk.send(np.ascontiguousarray(piece.T).tobytes())
            talk.send({"end": True})
            _, said, _, _ = talk.rest()
        frames = [frame for each in said for frame in each.get("frames", [])]
        expected = codec.encode(audio, info.encode_sample_rate_hz)
        assert np.mean(expected == np.array(frames).T) > 0.98
        with gateway.talk() as talk:
            _, message, _ = talk.refusal()
    assert message == f"there is {', '.join(served_codecs(place))}; choose one with ?codec="


def test_a_server_that_is_away_is_told_and_the_gateway_serves_on() -> None:
    with running_gateway("127.0.0.1:9") as gateway:
        for _ in range(2):
            with gateway.talk("codec=small_nanocodec") as talk:
                kind, message, code = talk.refusal()
            assert (kind, code) == ("ServerUnavailableError", 1013)
            assert "127.0.0.1:9" in message
