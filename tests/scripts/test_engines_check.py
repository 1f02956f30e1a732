"""The defects that ``make engines-check`` finds in an engine, on manifests written here."""

from pathlib import Path
from typing import Any

import pytest

from scripts.common.prepare import PrepareError
from scripts.fidelity import engines as engines_check
from scripts.fidelity.engines import CODECS, main, profiles_by_role, shortcomings
from tritone_build.codecs import VARIANTS
from tritone_build.repository.manifests import write_manifest
from tritone_runtime.manifests import ENGINE_FILE

PROFILES = ["low_latency", "bulk"]
RIGHT: dict[str, Any] = {
    "bytes": 4,
    "profiles": [{"name": name} for name in PROFILES],
    "fp16_share_of_weights": 0.97,
    "peak_memory_mb": 3000,
    "fidelity": {"snr_db": 71.0},
}


def compiled(version: Path, **changes: Any) -> Path:
    version.mkdir(parents=True)
    (version / ENGINE_FILE).write_bytes(b"plan")
    write_manifest(version, {"engine": RIGHT | changes})
    return version


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({}, []),
        ({"fidelity": {"equal_tokens": 0.99}}, []),
        ({"fidelity": {"snr_db": 49.0}}, ["49 dB from FP32, at least 50 is expected"]),
        ({"fidelity": {"snr_db": float("nan")}}, ["nan dB from FP32, at least 50 is expected"]),
        ({"fidelity": {}}, ["its graph was not compared with FP32"]),
        (
            {"fidelity": {"equal_tokens": 0.9}},
            ["0.9 of the tokens as in FP32, at least 0.95 is expected"],
        ),
        ({"fp16_share_of_weights": 0.0}, ["0 of the weights in FP16, at least 0.6 is expected"]),
        ({"peak_memory_mb": 9000}, ["9000 MB to compile it, at most 8000 is expected"]),
        ({"bytes": 5}, ["its file has 4 bytes; 5 were written"]),
        (
            {"profiles": [{"name": "bulk"}]},
            ["it has the profiles bulk; expected low_latency, bulk"],
        ),
    ],
    ids=["right", "tokens", "unlike", "nan", "not compared", "other tokens", "FP32", "memory", "cut", "few"],
)
def test_the_defects_of_an_engine_are_described(
    changes: dict[str, Any], messages: list[str], tmp_path: Path
) -> None:
    assert shortcomings(compiled(tmp_path / "1", **changes), PROFILES) == messages


def test_a_missing_engine_fails(tmp_path: Path) -> None:
    version = compiled(tmp_path / "1")
    (version / ENGINE_FILE).unlink()
    assert shortcomings(version, PROFILES) == shortcomings(tmp_path, PROFILES) == ["no engine was compiled"]


def test_every_kind_of_network_that_is_published_is_compiled() -> None:
    alike = {"nanocodec_1780bps": "nanocodec", "moss_v2": "moss_nano"}
    alike |= {"snac_44khz": "snac_32khz", "dac_16khz": "dac_24khz"}
    compiled_ones = {codec.removesuffix("_shallow") for codec in CODECS}
    assert {alike.get(codec, codec) for codec in VARIANTS} == compiled_ones
    assert set(profiles_by_role("mimi")) == {"vocoder", "encode", "decode_stream", "encode_stream"}


def test_the_command_returns_1_when_an_engine_fails_or_was_not_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--repository", str(tmp_path)]
    monkeypatch.setattr(engines_check, "profiles_by_role", lambda _: {"vocoder": PROFILES})
    monkeypatch.setattr(
        engines_check, "build_engines", lambda *_: compiled(tmp_path / "nanocodec_mini_vocoder/1")
    )
    assert main(arguments) == 0
    assert "nanocodec_mini_vocoder             ok\n" in capsys.readouterr().out
    monkeypatch.setattr(engines_check, "build_engines", lambda *_: None)
    (tmp_path / "nanocodec_mini_vocoder/1" / ENGINE_FILE).unlink()
    assert main(arguments) == 1
    assert "1 engines fall short" in capsys.readouterr().out

    def failing(*_: Any) -> None:
        raise PrepareError("could not build nanocodec_mini")

    monkeypatch.setattr(engines_check, "build_engines", failing)
    assert main(arguments) == 1
    assert "engines-check: could not build nanocodec_mini" in capsys.readouterr().err
