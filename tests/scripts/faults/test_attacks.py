"""The fault table's attackers: what they try is tried, and what comes of it is told apart."""

from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from tritonclient.grpc import service_pb2

from scripts.faults.__main__ import measured
from scripts.faults.attacks import guessed_ids as attack_ids
from scripts.faults.attacks.access import certificates_row, restricted_endpoints_row
from scripts.faults.attacks.guessed_ids import ids_row
from scripts.faults.attacks.huge_messages import size_rows
from scripts.faults.attacks.idle_connections import idle_rows
from scripts.faults.attacks.raw_http2 import RawPeer
from scripts.faults.fuzz import Answers
from scripts.faults.load_generator import LoadResult, UtteranceSet, bystanders_row, utterances_of
from scripts.faults.malformed import malformed_requests
from tritone_server.launcher import TritonServer

NAMES = ["small_nanocodec", "small_mimi"]


@pytest.fixture(scope="module")
def spoken(server: TritonServer) -> dict[str, UtteranceSet]:
    return {name: utterances_of(name, server.url) for name in NAMES}


def test_malformed_requests_are_all_answered_beside_good_streams(repository: Path) -> None:
    (found,) = measured(repository, NAMES[:1], {"fuzz": 100}, Console(quiet=True))
    rows = {row.check: row for row in found}
    assert list(rows) == ["fuzz_refused", "fuzz_improper", "fuzz_memory", "fuzz_lost"]
    for check in ("fuzz_refused", "fuzz_improper", "fuzz_lost"):
        assert rows[check].ok, rows[check]
    assert rows["fuzz_refused"].value > 50


def test_malformed_requests_are_the_same_every_time_and_go_every_way() -> None:
    model = service_pb2.ModelMetadataResponse(name="codec_decode")
    model.inputs.add(name="tokens", datatype="INT64", shape=[-1, 8, -1])
    made = malformed_requests([model], 300)
    assert made == malformed_requests([model], 300)
    assert min(Counter(request.way for request in made).values()) > 30
    assert len(set(made)) > 200


def test_no_answer_and_a_dead_model_are_improper() -> None:
    answers = Answers()
    answers.add("INVALID_ARGUMENT", "tokens must be in 0..4031")
    answers.add("INTERNAL", "Stub process is not healthy.", proper=False)
    assert answers.told == "INVALID_ARGUMENT 1, INTERNAL 1"
    assert answers.improper == ["INTERNAL Stub process is not healthy."]
    assert not bystanders_row("any", LoadResult()).ok, "nothing was heard"
    assert bystanders_row("any", LoadResult(streams=1, expected=9, delivered=9)).ok
    assert not bystanders_row("any", LoadResult(streams=1, expected=9, delivered=9, resumed=1)).ok


def test_strangers_are_not_served_and_nobody_changes_the_server(server: TritonServer) -> None:
    for row in (certificates_row(server), restricted_endpoints_row(server)):
        assert row.ok, row


def test_guessed_ids_are_refused(
    server: TritonServer, spoken: dict[str, UtteranceSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attack_ids, "_GUESSES", 120)
    for name in NAMES:
        row = ids_row(server, name, spoken[name])
        assert row.ok, row


def test_idle_connections_leave_room_for_others(
    server: TritonServer, spoken: dict[str, UtteranceSet]
) -> None:
    *kinds, lost = idle_rows(server, spoken, 100)
    assert [row.check for row in kinds] == ["attack_idle_silent", "attack_idle_http2"]
    for row in kinds:
        assert "100 of 100 connected; a new client is served" in row.how
    assert lost.ok, lost


def test_large_messages_are_refused_and_harm_nobody(
    server: TritonServer, spoken: dict[str, UtteranceSet]
) -> None:
    """What they leave in the server's memory is for the fault table."""
    claimed, large, lost = size_rows(server, spoken, full=False)
    assert "4 GB announced and 1 MB sent" in claimed.how
    assert "NOT_FOUND after" in large.how
    assert lost.ok, lost


def test_a_peer_without_a_library_gets_its_status(server: TritonServer) -> None:
    path = "/inference.GRPCInferenceService/ModelInfer"
    assert RawPeer("127.0.0.1", server.ports.grpc).ask(path, b"", 0) == "NOT_FOUND"
    assert RawPeer("127.0.0.1", server.ports.grpc).ask("/no/such", b"", 0) == "UNIMPLEMENTED"
