"""How much a step computes with each byte of weights, by which the runtime decides how a batch runs."""

import pytest
import torch

from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.graphs import stream_roles
from tritone_runtime.executors.apart import PAYS_FROM

APART = {"nanocodec", "nanocodec_mini", "qwen3_tts_12hz", "snac_24khz", "dac_44khz", "dac_24khz", "higgs_v2"}
WHOLE = {"mimi", "moss", "spectral_25fps"}


@pytest.mark.parametrize("codec", sorted(APART | WHOLE))
def test_convolutions_run_apart_and_large_transformers_run_whole(codec: str) -> None:
    with torch.device("meta"):
        role = stream_roles.decode_stream(outline_of(VARIANTS[codec]))
    assert (float(role.metadata["flop_per_weight_byte"]) >= PAYS_FROM) == (codec in APART)


def test_the_figure_is_that_of_the_convolutions_counted_by_hand() -> None:
    with torch.device("meta"):
        outline = outline_of(VARIANTS["nanocodec_mini"])
        role = stream_roles.decode_stream(outline)
    channels, steps, products = 256, 1, 256 * 32 * 7
    for rate in (8, 8, 4, 2, 2):
        products += steps * (channels // 2) * rate * 2 * 2  # two input channels per group, two frames
        channels, steps = channels // 2, steps * rate
        products += steps * channels * channels * 7 * 6  # two convolutions for each of three dilations
    products += steps * channels * 3
    weights = sum(weight.numel() for weight in outline.decoder.parameters())
    assert float(role.metadata["flop_per_weight_byte"]) == pytest.approx(
        2 * products / (4 * weights), rel=0.01
    )
