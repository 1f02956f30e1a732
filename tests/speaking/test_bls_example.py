"""A model that calls a codec's stream of the same server, on the real server."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.comparison import against_whole
from helpers.paths import ROOT
from tritonclient.utils import InferenceServerException

from examples.bls.listen import speech
from tritone_client import Codec
from tritone_server.launcher import Ports, TritonServer

CODEC = "small_nanocodec"


def test_a_model_of_the_server_speaks_with_its_codec(repository: Path, tmp_path: Path) -> None:
    model = shutil.copytree(ROOT / "examples" / "bls" / "speech", tmp_path / "speech")
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace("nanocodec", CODEC))
    with (
        TritonServer(repository, [CODEC], ports=Ports.free(), also=[model]) as server,
        Codec(CODEC, server.url) as codec,
    ):
        tokens = np.random.default_rng(0).integers(0, codec.info.codebook_size, (4, 12))
        pieces = speech(server.url, np.ascontiguousarray(tokens.T))
        assert [len(each) for each in pieces] == [codec.info.samples_per_frame] * 12
        found = against_whole(codec, tokens, np.concatenate(pieces))
        assert found.ok, found
        with pytest.raises(InferenceServerException, match=f"0..{codec.info.codebook_size - 1}"):
            speech(server.url, np.full((2, 4), codec.info.codebook_size, np.int64))
        with pytest.raises(InferenceServerException, match=r"unexpected shape|codebooks"):
            speech(server.url, np.zeros((2, 5), np.int64))
        again = speech(server.url, np.ascontiguousarray(tokens.T))
        assert np.array_equal(np.concatenate(again), np.concatenate(pieces))
        assert "ValueError" not in server.log.read_text(), "of a capsule's destructor"
