"""Metrics of a real server in a real Prometheus, and alerts that fire for their cause."""

import json
import re
import subprocess
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from helpers.servers.raw import HANGS_S

from tritone_client import Codec
from tritone_server.direct import opened
from tritone_server.launcher import Ports, TritonServer

NAME = "small_nanocodec"
ALERTS = ROOT / "deploy" / "alerts.yaml"

pytestmark = pytest.mark.needs("prometheus", "promtool")


def promtool(*arguments: str) -> str:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_alert_is_valid_and_fires_for_its_cause() -> None:
    assert "11 rules found" in promtool("check", "rules", str(ALERTS))
    promtool("test", "rules", str(ROOT / "tests/server/alerts_test.yaml"))


def test_every_alert_is_explained_to_the_operator() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    names = [line.split()[-1] for line in ALERTS.read_text().splitlines() if "- alert:" in line]
    assert names
    assert all(f"`{name}`" in page for name in names)


def test_the_dashboard_asks_for_what_there_is(server: TritonServer) -> None:
    with opened(server.metrics_url, timeout_s=HANGS_S) as answer:
        published = set(re.findall(r"^(\w+)\{", answer.read().decode(), re.MULTILINE))
    recorded = set(re.findall(r"record: (\S+)", ALERTS.read_text()))
    panels = json.loads((ROOT / "deploy" / "grafana.json").read_text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"((?:tritone|nv_inference)[\w:]+)", query)}
    assert len(panels) == 6
    assert asked <= published | recorded


@pytest.fixture
def prometheus(server: TritonServer, tmp_path: Path) -> Iterator[str]:
    """Its address; it scrapes the server of the tests every second."""
    target = f"{server.host}:{server.ports.metrics}"
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "tritone", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{Ports.free().http}"
    command = ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}"]
    command += [f"--storage.tsdb.path={tmp_path / 'data'}", f"--web.listen-address={address}"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        yield address
        process.terminate()


def value(address: str, query: str) -> float | None:
    """Of the first series; None where there is none yet."""
    url = f"http://{address}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with opened(url, timeout_s=5) as answer:
            found = json.loads(answer.read())["data"]["result"]
    except OSError:  # it is still starting
        return None
    return float(found[0]["value"][1]) if found else None


def test_a_real_prometheus_sees_streams_places_and_load(server: TritonServer, prometheus: str) -> None:
    model = f"{NAME}_decode_stream"
    with Codec(NAME, server.url) as codec, codec.decode_stream() as stream:
        frame = np.ones((codec.info.num_codebooks, 1), np.int64)
        deadline = time.monotonic() + HANGS_S
        queries = {
            "live": f'tritone_streams_live{{model="{model}"}} > 0',
            "taken": f'tritone:places_taken{{model="{model}"}} > 0',
            "load": f'tritone:step_load{{model="{model}"}}',
            "up": 'up{job="tritone"} == 1',
        }
        seen: dict[str, float] = {}
        while len(seen) < len(queries) and time.monotonic() < deadline:
            stream.push(frame)
            time.sleep(0.2)
            for name, query in queries.items():
                found = value(prometheus, query)
                if found is not None and np.isfinite(found):
                    seen[name] = found
    assert set(seen) == set(queries)
    assert seen["live"] >= 1
    assert 0 < seen["taken"] <= 1
    assert seen["load"] > 0
