"""Configurations: the published ones are recognised, and what they must not say is refused by name."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from scripts.common.small_codecs import SMALL
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import VARIANTS, family_of, qwen3_tts
from tritone_build.codecs.configs import mimi as mimi_config
from tritone_build.codecs.configs import moss as moss_config
from tritone_build.codecs.configs import qwen3_tts as qwen_config
from tritone_build.codecs.configs.required import rotary_base
from tritone_build.errors import UnsupportedNetworkError

MIMI, MONO, STEREO = (SMALL[f"small_{name}"] for name in ("mimi", "moss", "moss_nano"))
QWEN = SMALL["small_qwen3_tts_12hz"]
REMOVED = object()


def changed(config: Any, *path: str | int, to: Any) -> dict[str, Any]:
    """A copy in which the value at the path is another one, or is missing."""
    whole = copy.deepcopy(dict(config))
    inner: Any = whole
    for key in path[:-1]:
        inner = inner[key]
    if to is REMOVED:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return whole


def check_refused(parse: Callable[[dict[str, Any]], object], config: dict[str, Any], said: str) -> None:
    with pytest.raises(UnsupportedNetworkError) as caught:
        parse(config)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", list(VARIANTS))
def test_every_published_configuration_is_that_of_its_variant(name: str) -> None:
    bare = Checkpoint("bare", "", VARIANTS[name].config, {}, "")
    assert family_of(bare).variant_of(bare) == name


@pytest.mark.parametrize(
    ("name", "windows"),
    [("moss", {125, 250, 500, 1000}), ("moss_nano", {500, 800, 1200, 1600}), ("moss_v2", {125, 250, 400})],
)
def test_published_windows_are_counted_in_steps(name: str, windows: set[int]) -> None:
    blocks = moss_config.parse(VARIANTS[name].config).decoder
    stages = [block for block in blocks if isinstance(block, moss_config.StageConfig)]
    assert {stage.transformer.context for stage in stages} == windows


@pytest.mark.parametrize("value", [False, "false", "true", 1, None])
def test_two_channels_that_are_not_interleaved_are_refused(value: object) -> None:
    said = f"enable_channel_interleave = {value!r} is not supported with number_channels = 2; supported: "
    check_refused(moss_config.parse, changed(STEREO, "enable_channel_interleave", to=value), said)


STAGE, MONO_STAGE = ("decoder_kwargs", 1), ("decoder_kwargs", 0)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (
            changed(STEREO, "enable_channel_interleave", to=REMOVED),
            "without enable_channel_interleave is not",
        ),
        (
            changed(STEREO, "number_channels", to=2.0),
            "number_channels = 2.0 is not supported; supported: 1, 2",
        ),
        (changed(MONO, "number_channels", to=True), "number_channels = True is not supported"),
        (
            changed(STEREO, *STAGE, "context_duration", to=0),
            "decoder_kwargs[1].context_duration is 0, expected",
        ),
        (
            changed(STEREO, *STAGE, "context_duration", to=-1),
            "context_duration is -1, expected a number above 0",
        ),
        (changed(STEREO, *STAGE, "context_duration", to="1"), "context_duration is '1', expected a number"),
        (
            changed(STEREO, *STAGE, "context_duration", to=0.001),
            "context_duration = 0.001 is a window of 0 steps in decoder_kwargs[1], which has 25 steps",
        ),
        (
            changed(MONO, "causal_transformer_context_duration", to=0),
            "causal_transformer_context_duration is 0, expected a number above 0",
        ),
        (changed(MONO, "quantizer_kwargs", "rvq_dim", to=REMOVED), "has no quantizer_kwargs.rvq_dim"),
        (changed(MONO, "quantizer_kwargs", to=[]), "quantizer_kwargs is [], expected a mapping"),
        (changed(MONO, "quantizer_kwargs", to=None), "has no quantizer_kwargs"),
        (changed(MONO, *MONO_STAGE, "d_model", to=REMOVED), "has no decoder_kwargs[0].d_model"),
        (changed(MONO, *MONO_STAGE, "max_period", to=None), "has no decoder_kwargs[0].max_period"),
        (changed(MONO, *MONO_STAGE, "num_layers", to=2.5), "decoder_kwargs[0].num_layers is 2.5, expected"),
        (changed(MONO, *MONO_STAGE, "module_type", to=REMOVED), "has no decoder_kwargs[0].module_type"),
        (changed(MONO, *MONO_STAGE, "weights_per_step", to=8), "decoder_kwargs[0].weights_per_step = 8"),
        (changed(MONO, *MONO_STAGE, "num_heads", to=3), "dim is 64 and its num_heads 3"),
        (
            changed(MONO, "decoder_kwargs", 1, "patch_size", to=REMOVED),
            "decoder_kwargs[1].patch_size is None",
        ),
        (changed(MONO, "encoder_kwargs", to={}), "encoder_kwargs is {}, expected a list of blocks"),
        (changed(MONO, "encoder_kwargs", to=["x"]), "encoder_kwargs[0] is 'x', expected a mapping"),
        (changed(MONO, "downsample_rate", to=0), "downsample_rate is 0, expected an integer of at least 1"),
    ],
)
def test_moss_says_what_a_configuration_lacks_or_must_not_say(config: dict[str, Any], said: str) -> None:
    check_refused(moss_config.parse, config, said)


def test_a_window_of_a_stage_counts_before_that_of_the_network() -> None:
    stage = changed(
        changed(MONO, *MONO_STAGE, "context_duration", to=0.2), *STAGE, "context_duration", to=None
    )
    found = [
        b.transformer.context
        for b in moss_config.parse(stage).decoder
        if isinstance(b, moss_config.StageConfig)
    ]
    assert found == [5, 20]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (changed(QWEN, "model_type", to=REMOVED), "a configuration without model_type is not supported"),
        (changed(QWEN, "model_type", to="encodec"), "model_type = 'encodec' is not supported"),
        (changed(QWEN, "decoder_config", to=None), "has no decoder_config"),
        (changed(QWEN, "decoder_config", to="x"), "decoder_config is 'x', expected a mapping"),
        (changed(QWEN, "encoder_config", to=[1]), "encoder_config is [1], expected a mapping"),
        (changed(QWEN, "decoder_config", "sliding_window", to=None), "has no decoder_config.sliding_window"),
        (
            changed(QWEN, "decoder_config", "sliding_window", to=0),
            "decoder_config.sliding_window is 0, expected",
        ),
        (
            changed(QWEN, "encoder_config", "sliding_window", to=0),
            "encoder_config.sliding_window is 0, expected",
        ),
        (changed(QWEN, "decoder_config", "head_dim", to=15), "head is 15; expected an even size"),
        (
            changed(QWEN, "decoder_config", "rms_norm_eps", to="x"),
            "decoder_config.rms_norm_eps is 'x', expected",
        ),
        (changed(QWEN, "decoder_config", "upsample_rates", to=8), "upsample_rates is 8, expected a list"),
        (changed(QWEN, "decode_upsample_rate", to="96"), "decode_upsample_rate is '96', expected an integer"),
        (
            changed(QWEN, "encoder_config", "num_quantizers", to=8),
            "the encoder has 8 codebooks, the decoder needs 16",
        ),
    ],
)
def test_qwen_says_what_a_configuration_lacks_or_must_not_say(config: dict[str, Any], said: str) -> None:
    check_refused(qwen_config.parse, config, said)


@pytest.mark.parametrize("model_type", [REMOVED, "encodec"])
def test_a_configuration_of_both_halves_is_never_replaced_by_the_published_one(model_type: object) -> None:
    config = changed(qwen_config.PUBLISHED, "model_type", to=model_type)
    bare = Checkpoint("x", "safetensors", config, {}, "")
    assert qwen3_tts.recognises(bare)
    with pytest.raises(UnsupportedNetworkError, match="model_type"):
        qwen3_tts.variant_of(bare)


OTHER_ATTENTION = [
    (
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0}},
        "rope_scaling.rope_type = 'yarn' is not supported",
    ),
    ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling.type = 'linear' is not supported"),
    ({"rope_scaling": "linear"}, "rope_scaling is 'linear', expected a mapping"),
    ({"rope_parameters": {"rope_type": "llama3"}}, "rope_parameters.rope_type = 'llama3' is not supported"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_parameters.partial_rotary_factor = 0.5"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5 is not supported; supported: 1"),
    ({"rope_parameters": {"rope_theta": 5000.0}}, "rope_theta = 5000.0 contradict each other"),
    ({"attention_bias": True}, "attention_bias = True is not supported; supported: False"),
]


@pytest.mark.parametrize(("values", "said"), OTHER_ATTENTION)
def test_other_attention_is_refused_by_name(values: dict[str, Any], said: str) -> None:
    check_refused(mimi_config.parse, {**MIMI, **values}, said)
    for half in ("decoder_config", "encoder_config"):
        there = changed(QWEN, half, to={**QWEN[half], **values})
        check_refused(qwen_config.parse, there, said)
        check_refused(qwen_config.parse, there, f"{half}.{next(iter(values))}")


@pytest.mark.parametrize(
    "values",
    [
        {"rope_scaling": None, "rope_parameters": None, "partial_rotary_factor": 1.0},
        {"rope_scaling": {"type": "default"}},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 1.0}},
    ],
)
def test_the_plain_rotation_is_taken_however_it_is_written(values: dict[str, Any]) -> None:
    assert mimi_config.parse({**MIMI, **values}) == mimi_config.parse(MIMI)
    decoder = changed(QWEN, "decoder_config", to={**QWEN["decoder_config"], **values})
    assert qwen_config.parse(decoder) == qwen_config.parse(QWEN)


def test_the_base_of_transformers_5_is_read() -> None:
    config = changed({**MIMI, "rope_parameters": {"rope_theta": 500}}, "rope_theta", to=REMOVED)
    assert mimi_config.parse(config).transformer.rope_theta == 500
    assert rotary_base({}, 7, "") == 7


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"sliding_window": None}, "sliding_window is None, expected an integer of at least 1"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0, expected an integer"),
        ({"upsampling_ratios": None}, "upsampling_ratios is None, expected a list of integers"),
        ({"norm_eps": None}, "norm_eps is None, expected a number above 0"),
        ({"rope_theta": "10000"}, "rope_theta is '10000', expected a number above 0"),
    ],
)
def test_mimi_names_a_value_of_another_kind(values: dict[str, Any], said: str) -> None:
    check_refused(mimi_config.parse, {**MIMI, **values}, said)
