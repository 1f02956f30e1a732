"""Checkpoints from the hub: the real huggingface_hub against a hub on loopback."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from safetensors.torch import load_file, save

from scripts.common.small_codecs import SMALL
from tritone_build import codecs
from tritone_build.checkpoints.checkpoint import Checkpoint
from tritone_build.checkpoints.fixtures import write_fixture
from tritone_build.errors import CheckpointError

REPOSITORY, CSM = "someone/small-codec", "someone/small-csm"
QWEN = "someone/speech-model"
PICKLED, TWICE = "someone/old-codec", "someone/codec-in-two-formats"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


Files = dict[str, bytes]


def as_csm_is_published(folder: Path) -> Files:
    """Mimi within a model that is there twice: in the format of transformers, which is named, and another."""
    mimi = load_file(write_fixture(SMALL["small_mimi"], folder, layout="safetensors"))
    name, index = "transformers-00001-of-00001.safetensors", "transformers.safetensors.index.json"
    inner = {f"codec_model.{tensor}": value for tensor, value in mimi.items()}
    config = {"model_type": "csm", "codec_config": SMALL["small_mimi"], "transformers_weights": index}
    return {
        "config.json": json.dumps(config).encode(),
        index: json.dumps({"weight_map": dict.fromkeys(inner, name)}).encode(),
        name: save(inner),
        "model.safetensors": b"not to be fetched",
    }


def as_qwen3_tts_is_published(folder: Path) -> Files:
    """A language model, and its codec in a folder of its own."""
    inner = write_fixture(SMALL["small_qwen3_tts_12hz"], folder).parent
    codec = {f"speech_tokenizer/{file.name}": file.read_bytes() for file in inner.iterdir()}
    return codec | {"config.json": b'{"model_type": "qwen3_tts"}', "model.safetensors": b"not to be fetched"}


def as_snac_is_published() -> Files:
    """A file of torch.save, and no other."""
    weights = io.BytesIO()
    torch.save({"encoder.weight": torch.zeros(2)}, weights)
    return {"config.json": b"{}", "pytorch_model.bin": weights.getvalue(), "README.md": b"a codec"}


@pytest.fixture
def repositories(tmp_path: Path) -> dict[str, Files]:
    nemo = write_fixture(SMALL["small_nanocodec"], tmp_path / "published.nemo").read_bytes()
    return {
        REPOSITORY: {"codec.nemo": nemo, "README.md": b"a codec"},
        CSM: as_csm_is_published(tmp_path / "mimi"),
        QWEN: as_qwen3_tts_is_published(tmp_path / "qwen"),
        PICKLED: as_snac_is_published(),
        TWICE: as_snac_is_published() | {"model.safetensors": save({"encoder.weight": torch.ones(2)})},
    }


@pytest.fixture
def fetched() -> list[str]:
    """Names of files that were fetched."""
    return []


class HubHandler(BaseHTTPRequestHandler):
    """Answers as the hub's API does."""

    repositories: ClassVar[dict[str, Files]]
    fetched: ClassVar[list[str]]

    def do_HEAD(self) -> None:
        self.respond(body=False)

    def do_GET(self) -> None:
        self.respond(body=True)

    def respond(self, body: bool) -> None:
        for repository, files in self.repositories.items():
            if self.path.startswith(f"/api/models/{repository}"):
                return self.send(200, self.listing(repository, files), body)
            file = self.path.removeprefix(f"/{repository}/resolve/").partition("/")[2]
            if self.path.startswith(f"/{repository}/resolve/") and file in files:
                self.fetched.extend([file] * body)
                return self.send(200, files[file], body)
        return self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

    def listing(self, repository: str, files: Files) -> bytes:
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
            for name, content in files.items()
        ]
        described = {
            "id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in files],
            "private": False, "downloads": 0, "likes": 0, "tags": [],
        }  # fmt: skip
        return json.dumps(entries if "/tree/" in self.path else described).encode()

    def send(self, status: int, payload: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        etag = hashlib.sha256(payload).hexdigest()
        common = {"Content-Length": str(len(payload)), "ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
        for key, value in (common | (headers or {})).items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(payload)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub(repositories: dict[str, Files], fetched: list[str]) -> Iterator[str]:
    """Address of one that serves them."""
    served = {"repositories": repositories, "fetched": fetched}
    handler = type("Handler", (HubHandler,), served)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def opened(source: str, endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The hub's address is read when its library is imported, hence a process of its own."""
    code = (
        "import sys; from tritone_build.checkpoints.checkpoint import open_checkpoint; "
        "from tritone_build.errors import TritoneBuildError\n"
        "try: print(open_checkpoint(sys.argv[1]).sha256)\n"
        "except TritoneBuildError as error: print(type(error).__name__, error)"
    )
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, source], env=environment, capture_output=True, text=True, check=False
    )


def test_a_hub_id_is_fetched_and_read(hub: str, tmp_path: Path) -> None:
    done = opened(REPOSITORY, hub, tmp_path / "cache")
    expected = hashlib.sha256((tmp_path / "published.nemo").read_bytes()).hexdigest()
    assert done.stdout.strip() == expected, done.stderr


def test_of_a_model_in_two_formats_only_the_named_one_is_fetched(
    hub: str, repositories: dict[str, Files], fetched: list[str], tmp_path: Path
) -> None:
    done = opened(f"{CSM}#codec_model", hub, tmp_path / "cache")
    shard = repositories[CSM]["transformers-00001-of-00001.safetensors"]
    assert done.stdout.strip() == f"{hashlib.sha256(shard).hexdigest()}#codec_model", done.stderr
    assert sorted(fetched) == sorted(set(repositories[CSM]) - {"model.safetensors"})


def test_of_a_speech_model_only_the_folder_of_its_codec_is_fetched(
    hub: str, repositories: dict[str, Files], fetched: list[str], tmp_path: Path
) -> None:
    done = opened(QWEN, hub, tmp_path / "cache")
    weights = repositories[QWEN]["speech_tokenizer/model.safetensors"]
    assert done.stdout.strip() == hashlib.sha256(weights).hexdigest(), done.stderr
    assert "model.safetensors" not in fetched
    assert "speech_tokenizer/model.safetensors" in fetched


@pytest.mark.parametrize(
    ("repository", "weights", "left"),
    [(PICKLED, "pytorch_model.bin", set()), (TWICE, "model.safetensors", {"pytorch_model.bin"})],
)
def test_pickled_weights_are_fetched_if_there_are_no_others(
    repository: str,
    weights: str,
    left: set[str],
    hub: str,
    repositories: dict[str, Files],
    fetched: list[str],
    tmp_path: Path,
) -> None:
    done = opened(repository, hub, tmp_path / "cache")
    expected = hashlib.sha256(repositories[repository][weights]).hexdigest()
    assert done.stdout.strip() == expected, done.stderr
    assert set(fetched) == set(repositories[repository]) - left - {"README.md"}


def test_a_published_codec_means_its_pinned_commit_and_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def fetched(source: str, revision: str | None) -> Checkpoint:
        asked.append((source, revision))
        return Checkpoint(source, "nemo", {}, {}, sha256="0" * 64)

    monkeypatch.setattr(codecs, "open_checkpoint", fetched)
    published = codecs.VARIANTS["nanocodec"]
    for source in (published.name, published.source):
        with pytest.raises(CheckpointError, match=f"SHA-256 is 0000.*, expected {published.sha256}"):
            codecs.open_published(source)
    codecs.open_published("nanocodec", revision="main")
    codecs.open_published("someone/else")
    assert asked == [
        (published.source, published.revision),
        (published.source, published.revision),
        (published.source, "main"),
        ("someone/else", None),
    ]


def test_an_unknown_hub_id_is_told_with_what_to_check(hub: str, tmp_path: Path) -> None:
    done = opened("someone/nothing", hub, tmp_path / "cache")
    assert done.stdout.startswith("CheckpointNotFoundError someone/nothing"), done.stdout + done.stderr
    assert "check the id" in done.stdout
