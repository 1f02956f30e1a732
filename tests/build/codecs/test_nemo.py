"""NeMo's codecs: ours against NeMo's own classes, and what their checkpoints may say."""

import copy
from typing import Any

import pytest
import torch

from scripts.common.small_codecs import NEMO
from scripts.peers import Reference
from tritone_build.codecs import VARIANTS
from tritone_build.codecs.base import Codec
from tritone_build.codecs.configs.nemo import parse
from tritone_build.codecs.nemo import Network
from tritone_build.errors import UnsupportedNetworkError
from tritone_build.state import whole
from tritone_runtime.fidelity import snr_db


def some_tokens(codec: Codec, frames: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(frames)
    g = codec.geometry
    return torch.randint(g.codebook_size, (2, g.num_codebooks, frames), generator=generator)


def some_audio(samples: int) -> torch.Tensor:
    return 0.3 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))


@pytest.mark.parametrize("name", NEMO)
@pytest.mark.parametrize("frames", [4, 5, 40])
def test_decoding_equals_nemo(
    name: str, frames: int, codecs: dict[str, Codec], references: dict[str, Reference]
) -> None:
    codec = codecs[name]
    tokens = some_tokens(codec, frames)
    ours = whole(codec.decoder, codec.quantizer.dequantize(tokens))
    assert snr_db(references[name].decode(tokens).numpy(), ours.numpy()) > 125


@pytest.mark.parametrize("name", NEMO)
def test_encoding_equals_nemo(name: str, codecs: dict[str, Codec], references: dict[str, Reference]) -> None:
    codec = codecs[name]
    audio = some_audio(200 * codec.geometry.samples_per_frame)
    ours = codec.quantizer.quantize(whole(codec.encoder, audio[:, None]))
    assert torch.equal(ours, references[name].encode(audio).long())
    assert len(torch.unique(ours)) > 100, "the weights must give varied tokens, or this compares little"


@pytest.mark.parametrize("name", [name for name in NEMO if name != "small_lfsc"])
def test_the_past_is_unmoved_by_the_future(name: str, codecs: dict[str, Codec]) -> None:
    codec, hop = codecs[name], codecs[name].geometry.samples_per_frame
    tokens = some_tokens(codec, 30)
    changed = tokens.clone()
    changed[..., 20:] = 0
    before, after = (whole(codec.decoder, codec.quantizer.dequantize(t)) for t in (tokens, changed))
    assert torch.equal(before[:, : 20 * hop], after[:, : 20 * hop])
    assert not torch.equal(before[:, 20 * hop :], after[:, 20 * hop :])


@pytest.mark.parametrize("name", NEMO)
def test_a_frame_depends_on_exactly_the_announced_lookaround(name: str, codecs: dict[str, Codec]) -> None:
    codec, g = codecs[name], codecs[name].geometry
    decoder, look, hop = copy.deepcopy(codec.decoder).double(), g.lookaround_frames, g.samples_per_frame
    latent = torch.randn(1, g.latent_dim, 2 * look + 9, dtype=torch.double, requires_grad=True)
    at = look + 4
    whole(decoder, latent)[0, at * hop : (at + 1) * hop].sum().backward()  # type: ignore[no-untyped-call]
    assert latent.grad is not None
    touched = latent.grad[0].abs().amax(0).nonzero()[:, 0] - at
    assert (int(touched.min()), int(touched.max())) == (-look, 0 if g.causal else look)


@pytest.mark.parametrize("name", NEMO)
def test_a_token_depends_on_at_most_the_announced_lookaround(name: str, codecs: dict[str, Codec]) -> None:
    codec, g = codecs[name], codecs[name].geometry
    encoder, look, hop = (
        copy.deepcopy(codec.encoder).double(),
        g.encode_lookaround_frames,
        g.samples_per_frame,
    )
    audio = torch.randn(1, 1, (2 * look + 9) * hop, dtype=torch.double, requires_grad=True)
    at = look + 4
    whole(encoder, audio)[0, :, at].sum().backward()  # type: ignore[no-untyped-call]
    assert audio.grad is not None
    touched = audio.grad[0, 0].nonzero()[:, 0] // hop - at
    assert -look <= int(touched.min()) <= 1 - look
    assert int(touched.max()) <= look


def test_nemo_and_we_agree_on_the_fewest_frames(
    codecs: dict[str, Codec], references: dict[str, Reference]
) -> None:
    codec = codecs["small_lfsc"]
    assert codec.geometry.min_frames == 4
    references["small_lfsc"].decode(some_tokens(codec, 4))
    with pytest.raises(RuntimeError, match=r"[Pp]adding"):
        references["small_lfsc"].decode(some_tokens(codec, 3))


@pytest.mark.parametrize(
    ("name", "hop", "encoder", "decoder", "codebooks"),
    [
        ("nanocodec", 1764, 30_263_920, 31_465_805, 4),
        ("nanocodec_1780bps", 1764, None, None, 13),
        ("nanocodec_1890bps", 1024, None, None, 8),
        ("lfsc", 1024, 57_629_216, 55_035_393, 8),
    ],
)
def test_published_geometry(
    name: str, hop: int, encoder: int | None, decoder: int | None, codebooks: int
) -> None:
    """Frame size and parameter counts as published (model cards and NeMo's own modules)."""
    config = parse(VARIANTS[name].config)
    assert (config.samples_per_frame, config.num_groups) == (hop, codebooks)
    with torch.device("meta"):
        network = Network(config)
    for half, published in ((network.audio_encoder, encoder), (network.audio_decoder, decoder)):
        # Weight norm, which is folded here, adds one number per leading index of each weight.
        plain = sum(parameter.numel() for parameter in half.parameters())
        norms = sum(p.shape[0] for n, p in half.named_parameters() if n.endswith("weight"))
        assert published in (None, plain, plain + norms)


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    config = dict(VARIANTS["nanocodec"].config)
    return config | {key: {**config[key], **section} for key, section in sections.items()}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (
            changed(audio_encoder={"_target_": "nemo.collections.tts.modules.x.ResNetEncoder"}),
            "ResNetEncoder",
        ),
        (changed(audio_decoder={"activation": "elu"}), "elu"),
        (changed(audio_decoder={"trim_right_ratio": 0.5}), "trim_right_ratio"),
        (changed(vector_quantizer={"_target_": "x.ResidualVectorQuantizer"}), "ResidualVectorQuantizer"),
        (changed(vector_quantizer={"num_groups": 5}), "latent"),
        (changed(audio_decoder={"up_sample_rates": [7, 7, 6, 3, 1]}), "hop"),
        (dict(VARIANTS["nanocodec"].config) | {"samples_per_frame": 1000}, "1000"),
        (dict(VARIANTS["nanocodec"].config) | {"semantic_codec_path": "x.nemo"}, "semantic_codec_path"),
        (dict(VARIANTS["nanocodec"].config) | {"output_sample_rate": 44100}, "output_sample_rate"),
        (dict(VARIANTS["nanocodec"].config) | {"target": "nemo.asr.EncDecCTCModel"}, "EncDecCTCModel"),
        ({"target": VARIANTS["nanocodec"].config["target"], "sample_rate": 22050}, "audio_encoder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_implemented_is_named(config: dict[str, Any], named: str) -> None:
    with pytest.raises(UnsupportedNetworkError, match=named):
        parse(config)
