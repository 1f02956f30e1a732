"""A stereo codec built for the target ``cuda``, run on the CPU: in process and by a real server."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.signals import sound

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.cli import main
from tritone_client import Codec
from tritone_runtime.fidelity import snr_db
from tritone_server.launcher import Ports, TritonServer

NAME, FRAMES = "small_moss_nano", 37


@pytest.fixture(scope="module")
def built(checkpoints: dict[str, Checkpoint], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cuda")
    source = checkpoints[NAME].source
    command = ["models", NAME, "--checkpoint", source, "--target", "cuda", "--repository", str(folder)]
    assert main(command) == 0
    return folder


@pytest.fixture(scope="module", params=["in_process", "served"])
def codec(request: pytest.FixtureRequest, built: Path) -> Iterator[Codec]:
    if request.param == "in_process":
        with Codec(NAME, built, device="cpu") as codec:
            yield codec
        return
    server = TritonServer(built, [NAME], ports=Ports.free(), device="cpu")
    with server, Codec(NAME, server.url) as codec:
        yield codec


def test_whole_inputs_and_streams_have_both_channels(codec: Codec, repository: Path) -> None:
    audio, rate_hz, hop = sound(codec.info, FRAMES), codec.info.sample_rate_hz, codec.info.samples_per_frame
    with Codec(NAME, repository) as fp32:
        tokens = fp32.encode(audio, rate_hz)
        exact = fp32.decode(tokens)
    assert snr_db(exact, codec.decode(tokens)) >= 50
    encoded = [codec.encode(audio, rate_hz)]
    with codec.decode_stream() as decoder, codec.encode_stream(rate_hz) as encoder:
        pieces = [decoder.push(tokens[:, :7]), *(decoder.push(frame) for frame in tokens[:, 7:].T)]
        frames = [encoder.push(audio[:, at : at + hop]) for at in range(0, audio.shape[1], hop)]
        pieces.append(decoder.close())
        frames.append(encoder.close())
    assert snr_db(exact, np.concatenate(pieces, axis=-1)) >= 50
    encoded.append(np.concatenate(frames, axis=-1))
    for found in encoded:
        assert found.shape == tokens.shape
        assert np.mean(found[0] == tokens[0]) >= 0.95


def test_several_inputs_at_once_come_back_whole(codec: Codec) -> None:
    tokens = [codec.encode(sound(codec.info, FRAMES, seed), codec.info.sample_rate_hz) for seed in range(3)]
    for each, audio in zip(tokens, codec.decode(tokens), strict=True):
        assert snr_db(codec.decode(each), audio) >= 50
