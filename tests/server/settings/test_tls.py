"""Encrypted connections: who has the right certificates is served, and nobody else."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.servers.processes import dry_run
from helpers.servers.raw import HANGS_S

from scripts.common.certificates import write_certificates
from tritone_client import AsyncCodec, Codec, ServerUnavailableError, Tls, served_codecs
from tritone_server.launcher import Ports, ServerError, ServerTls, TritonServer

NAME = "small_nanocodec"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates: right ones, those of another authority, and some that have expired."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, days in (("right", 2), ("foreign", 2), ("expired", -2)):
        write_certificates(folder / name, days=days)
    return folder


def server_tls(folder: Path, client_ca: Path | None = None) -> ServerTls:
    return ServerTls(folder / "server.pem", folder / "server.key", client_ca)


def of_client(folder: Path, ca: Path) -> Tls:
    return Tls(ca / "ca.pem", folder / "client.pem", folder / "client.key")


@pytest.fixture(scope="module")
def mutual(repository: Path, folder: Path) -> Iterator[TritonServer]:
    tls = server_tls(folder / "right", folder / "right" / "ca.pem")
    with TritonServer(repository, [NAME], ports=Ports.free(), tls=tls) as server:
        yield server


def test_whole_inputs_and_streams_are_served_to_those_who_may(mutual: TritonServer, folder: Path) -> None:
    tls = of_client(folder / "right", folder / "right")
    assert served_codecs(mutual.url, tls=tls) == [NAME]
    with Codec(NAME, mutual.url, tls=tls) as codec:
        tokens = np.ones((codec.info.num_codebooks, 8), np.int64)
        whole = codec.decode(tokens)
        with codec.decode_stream() as stream:
            heard = np.concatenate([stream.push(frame) for frame in tokens.T])
    assert np.allclose(whole, heard, atol=1e-5)

    async def spoken() -> int:
        async with AsyncCodec(NAME, mutual.url, tls=tls) as codec, codec.decode_stream() as stream:
            return len(await stream.push(tokens)) + len(await codec.decode(tokens))

    assert asyncio.run(spoken()) == 2 * len(whole)


@pytest.mark.parametrize("client", ["without", "foreign", "expired", "plain", "distrusting"], ids=str)
def test_everybody_else_gets_a_typed_error(client: str, mutual: TritonServer, folder: Path) -> None:
    right = folder / "right"
    tls = {
        "without": Tls(right / "ca.pem"),
        "foreign": of_client(folder / "foreign", right),
        "expired": of_client(folder / "expired", right),
        "plain": None,
        "distrusting": of_client(right, folder / "foreign"),
    }[client]
    with pytest.raises(ServerUnavailableError):
        Codec(NAME, mutual.url, timeout_s=HANGS_S, tls=tls)


def test_a_server_whose_certificate_has_expired_is_not_talked_to(repository: Path, folder: Path) -> None:
    expired = folder / "expired"
    with (
        TritonServer(repository, [NAME], ports=Ports.free(), tls=server_tls(expired)) as server,
        pytest.raises(ServerUnavailableError),
    ):
        Codec(NAME, server.url, timeout_s=HANGS_S, tls=Tls(expired / "ca.pem"))


def test_missing_files_are_named(repository: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"server\.pem is missing; give the path of a PEM file"):
        TritonServer(repository, [NAME], ports=Ports.free(), tls=server_tls(tmp_path)).start()
    with pytest.raises(ValueError, match="one of them is missing"):
        Tls(certificate=folder / "right" / "client.pem")
    with pytest.raises(OSError, match=r"ca\.pem"):
        Tls(tmp_path / "ca.pem")


def test_the_command_line_takes_certificates(mutual: TritonServer, folder: Path) -> None:
    right = folder / "right"
    files = {"ca": "ca.pem", "certificate": "client.pem", "key": "client.key"}
    options = [f"--tls-{name}={right / file}" for name, file in files.items()]
    command = [str(Path(sys.executable).with_name("tritone")), "codecs", f"--url={mutual.url}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert NAME in done.stdout
    done = subprocess.run([*command, options[1]], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "one of them is missing" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "would not be encrypted"),
        (["--host", "no.such.host.invalid"], "not an address of this machine"),
        (["--tls-key", "server.key"], "go together"),
    ],
)
def test_others_are_not_served_in_the_clear_unless_told(
    options: list[str], said: str, repository: Path
) -> None:
    done = dry_run(NAME, repository, *options)
    assert done.returncode == 1
    assert said in done.stderr
    assert dry_run(NAME, repository, "--host", "0.0.0.0", "--insecure").returncode == 0
