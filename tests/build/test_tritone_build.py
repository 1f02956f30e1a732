"""The command ``tritone-build``."""

from pathlib import Path

import pytest

from tritone_build.cli import main
from tritone_build.codecs import VARIANTS


def test_codecs_lists_every_published_variant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["codecs"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in VARIANTS)


def test_a_fixture_can_be_inspected_and_planned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = str(tmp_path / "noise.nemo")
    assert main(["fixture", "nanocodec", checkpoint, "--seed", "1"]) == 0
    assert main(["inspect", checkpoint]) == 0
    printed = capsys.readouterr().out
    for word in ("audio_decoder", "audio_encoder", "every tensor fits", "codebook_size", "4032"):
        assert word in printed
    repository = tmp_path / "repository"
    assert main(["models", "--checkpoint", checkpoint, "--repository", str(repository), "--dry-run"]) == 0
    assert "nanocodec_vocoder" in capsys.readouterr().err.replace("\n", "")
    assert not repository.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "nope"], "unknown codec 'nope'; known: nanocodec"),
        (["models"], "name a codec, or give a checkpoint"),
        (["models", "lfsc", "--checkpoint", "none.nemo"], "no checkpoint at none.nemo"),
        (["inspect", __file__], "is text, not a checkpoint"),
        (["fixture", "nope", "out.nemo"], "unknown codec"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert said in capsys.readouterr().err
