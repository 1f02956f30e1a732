"""``tritone gateway`` as a program: what it says, how it stops, and what it refuses to start with."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.servers.gateways import PATIENCE_S, Talk
from websockets.sync.client import connect

from tritone_client.cli.main import main
from tritone_client.gateway.access import api_keys
from tritone_client.gateway.failures import SettingsError

PROGRAM = str(Path(sys.executable).with_name("tritone"))


def test_the_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["gateway", "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    for words in ("--local artifacts/model_repository", "curl", "ws://", "--max-sockets", "(8080)"):
        assert words in said


def test_it_says_where_it_is_and_closes_sockets_when_terminated(folder: Path) -> None:
    command = [PROGRAM, "gateway", "--local", str(folder), "--port", "0", "--drain-s", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            said = process.stdout.readline()
            (port,) = re.findall(r"^gateway to models of .+ at http://127\.0\.0\.1:(\d+) \(no API key", said)
            with Talk(connect(f"ws://127.0.0.1:{port}/v1/stream", proxy=None)) as talk:
                assert "start" in talk.next()
                process.send_signal(signal.SIGTERM)
                assert talk.refusal()[::2] == ("ClosingError", 1001)
            process.wait(PATIENCE_S)
            assert process.stderr.read() == ""
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--max-sockets", "0"], "sockets is a positive number, got 0"),
        (["--max-sockets-per-key", "0"], "sockets_per_key is a positive number, got 0"),
        (["--api-key-file", "missing.txt"], "missing.txt"),
        (["--device", "cpu"], "--device goes with --local FOLDER"),
        (["--url", "nowhere"], "the port is missing"),
        (["--local", "nowhere"], "nowhere"),
    ],
)
def test_what_it_cannot_start_with_is_told(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", *options]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--max-body-mb", "--send-s"])
@pytest.mark.parametrize("value", ["nan", "inf", "much"])
def test_a_limit_is_a_number(option: str, value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["gateway", option, value])
    assert f"a number is needed, got '{value}'" in capsys.readouterr().err


def test_keys_are_lines_of_a_file_or_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("# ours\nfirst-key\n\n  second-key\n")
    assert api_keys(file) == ("first-key", "second-key")
    monkeypatch.setenv("TRITONE_GATEWAY_KEYS", "third-key,fourth-key")
    assert api_keys(None) == ("third-key", "fourth-key")
    monkeypatch.delenv("TRITONE_GATEWAY_KEYS")
    assert api_keys(None) == ()
    for nothing in ("", " , "):
        monkeypatch.setenv("TRITONE_GATEWAY_KEYS", nothing)
        with pytest.raises(SettingsError, match="TRITONE_GATEWAY_KEYS holds no API key"):
            api_keys(None)
    file.write_text("# none yet\n")
    with pytest.raises(SettingsError, match="holds no API key"):
        api_keys(file)
    file.write_text("good-enough\nnot this one\n")
    with pytest.raises(SettingsError, match="API key 2 is not"):
        api_keys(file)
