"""The model repository: what is written is what was described."""

from dataclasses import replace
from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.codecs import VARIANTS, outline_of
from tritone_build.codecs.base import Codec
from tritone_build.graphs.roles import roles
from tritone_build.repository.configs import decode_config, model_config, parameters
from tritone_build.repository.manifests import _code_of
from tritone_build.repository.writing import is_current, model_names

NAME = "small_nanocodec"


def parsed(path: Path) -> pb.ModelConfig:
    return text_format.Parse(path.read_text(), pb.ModelConfig())


def test_config_text_parses_back_to_its_description(repository: Path, codecs: dict[str, Codec]) -> None:
    for name, codec in codecs.items():
        dequantize, vocoder, *others = roles(codec)
        for role in (dequantize, vocoder, *others):
            path = repository / f"{name}_{role.name}" / "config.pbtxt"
            assert parsed(path) == model_config(codec, role)
        described = decode_config(codec, dequantize, vocoder, echoes=True)
        assert parsed(repository / f"{name}_decode" / "config.pbtxt") == described


def test_the_decoder_is_an_ensemble_of_dequantizer_and_vocoder(repository: Path) -> None:
    config = parsed(repository / f"{NAME}_decode" / "config.pbtxt")
    assert config.platform == "ensemble"
    assert [step.model_name for step in config.ensemble_scheduling.step] == [
        f"{NAME}_dequantize",
        f"{NAME}_vocoder",
    ]
    assert {t.name: list(t.dims) for t in config.input} == {"tokens": [4, -1], "tokens_len": [1]}
    outputs = {"audio": [-1], "audio_len": [1], "audio_int16": [-1], "nonce": [1]}
    assert {t.name: list(t.dims) for t in config.output} == outputs


def test_a_nonce_passes_through_both_models_of_the_decoder(repository: Path) -> None:
    first, second = parsed(repository / f"{NAME}_decode" / "config.pbtxt").ensemble_scheduling.step
    assert first.output_map["nonce"] == second.input_map["latent_nonce"]
    assert second.output_map["nonce"] == "nonce"
    for role in ("decode", "decode_stream", "encode", "dequantize", "vocoder"):
        config = parsed(repository / f"{NAME}_{role}" / "config.pbtxt")
        assert "nonce" in [tensor.name for tensor in config.output]
        assert config.parameters["echoes"].string_value == "true"


def test_decoded_audio_is_there_in_int16_too_and_clients_can_tell(repository: Path) -> None:
    for role in ("decode", "vocoder", "decode_stream", "encode", "dequantize"):
        config = parsed(repository / f"{NAME}_{role}" / "config.pbtxt")
        types = {tensor.name: tensor.data_type for tensor in config.output}
        has_audio = "audio" in types
        assert types.get("audio_int16") == (pb.TYPE_INT16 if has_audio else None)
        assert (config.parameters["int16_output"].string_value == "true") == has_audio


def test_a_client_can_read_what_it_needs(repository: Path, checkpoints: dict[str, Checkpoint]) -> None:
    parameters = parsed(repository / f"{NAME}_decode" / "config.pbtxt").parameters
    found = {key: value.string_value for key, value in parameters.items()}
    expected = {
        "sample_rate": "22050",
        "samples_per_frame": "49",
        "num_codebooks": "4",
        "codebook_size": "4032",
        "min_frames": "1",
        "min_samples": "49",
        "causal": "true",
        "checkpoint_sha256": checkpoints[NAME].sha256,
    }
    assert expected.items() <= found.items()
    assert int(found["lookaround_frames"]) > 0


def test_models_are_current_until_the_checkpoint_changes_or_a_file_goes(
    repository: Path, codecs: dict[str, Codec]
) -> None:
    codec = codecs[NAME]
    assert is_current(repository, codec)
    assert not is_current(repository, replace(codec, checkpoint_sha256="0" * 64))
    model = repository / model_names(codec)["vocoder"] / "1" / "model.onnx"
    aside = model.rename(model.with_suffix(".aside"))
    try:
        assert not is_current(repository, codec)
    finally:
        aside.rename(model)


def test_words_build_nothing_again_and_code_does() -> None:
    said = 'def f():\n    """One."""\n    return 1  # a number\n'
    assert _code_of(said) == _code_of("def f():\n    '''Other.'''\n\n    return 1\n")
    assert _code_of(said) != _code_of(said.replace("return 1", "return 2"))


def test_attention_over_a_whole_signal_limits_the_length_of_a_request() -> None:
    longest = {
        name: parameters(outline_of(VARIANTS[name]), "decode").get("longest_call_s") for name in VARIANTS
    }
    assert {name: each for name, each in longest.items() if each} == {
        "moss": "66.9",
        "moss_nano": "29.0",
        "moss_v2": "16.7",
    }
    assert all(float(each) > 16 for each in longest.values() if each), "what the client sends in a request"
    streams = parameters(outline_of(VARIANTS["moss"]), "decode_stream")
    assert "longest_call_s" not in streams
