"""Settings that change the configuration of a checkpoint."""

from pathlib import Path

import pytest

from scripts.common.small_codecs import small
from tritone_build.checkpoints.checkpoint import open_checkpoint, with_settings
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.cli import main
from tritone_build.codecs.configs.snac import SNAC_24KHZ
from tritone_build.errors import CheckpointError


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_fixture(small(SNAC_24KHZ), tmp_path_factory.mktemp("snac")))


def test_a_setting_is_part_of_what_a_model_is_built_from(source: str) -> None:
    plain = open_checkpoint(source)
    noisy = with_settings(plain, {"noise": "position"})
    assert noisy.config["noise"] == "position"
    assert noisy.sha256 == f"{plain.sha256}?noise=position"
    assert with_settings(plain, {}) is plain
    with pytest.raises(CheckpointError, match=r"no key 'noisy' to set; it has .*noise"):
        with_settings(plain, {"noisy": True})


def test_the_command_takes_settings(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["models", "noisy", "--checkpoint", source, "--repository", str(tmp_path), "--dry-run"]
    assert main([*command, "--set", "noise=position"]) == 0
    assert "noisy_decode_stream" in "".join(capsys.readouterr().err.split())
    assert main([*command, "--set", "noise=loud"]) == 1
    assert "noise = 'loud' is not supported" in capsys.readouterr().err
    assert main([*command, "--set", "codebook_size=64"]) == 1
    assert "misshapen" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--set", "noise"])
    assert "'noise' is not of the form KEY=VALUE" in capsys.readouterr().err
