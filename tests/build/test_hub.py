"""Checkpoints from the hub: the real huggingface_hub against a hub on loopback."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import SMALL

from tritone_build import codecs
from tritone_build.checkpoints import Checkpoint
from tritone_build.errors import CheckpointError
from tritone_build.fixtures import write_fixture

REPOSITORY, COMMIT = "someone/small-codec", "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """Serves one repository with one .nemo file, as the hub's API does."""
    content = write_fixture(SMALL["small_nanocodec"], tmp_path / "published.nemo").read_bytes()
    etag = hashlib.sha256(content).hexdigest()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.respond(body=False)

        def do_GET(self) -> None:
            self.respond(body=True)

        def respond(self, body: bool) -> None:
            if self.path.startswith(f"/api/models/{REPOSITORY}"):
                listed = [{"rfilename": "codec.nemo"}, {"rfilename": "README.md"}]
                entries = [{"type": "file", "path": "codec.nemo", "size": len(content), "oid": etag}]
                answer = entries if "/tree/" in self.path else {
                    "id": REPOSITORY, "sha": COMMIT, "siblings": listed, "private": False,
                    "downloads": 0, "likes": 0, "tags": [],
                }  # fmt: skip
                self.send(200, json.dumps(answer).encode(), body)
            elif self.path.startswith(f"/{REPOSITORY}/resolve/") and self.path.endswith("codec.nemo"):
                self.send(200, content, body)
            else:
                self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

        def send(
            self, status: int, payload: bytes, body: bool, headers: dict[str, str] | None = None
        ) -> None:
            self.send_response(status)
            common = {"Content-Length": str(len(payload)), "ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
            for key, value in (common | (headers or {})).items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(payload)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def opened(source: str, endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The hub's address is read when its library is imported, hence a process of its own."""
    code = (
        "import sys; from tritone_build.checkpoints import open_checkpoint; "
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
