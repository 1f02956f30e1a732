"""The attacks of the fault tests are carried out, and their outcomes are distinguished."""

from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from tritonclient.grpc import service_pb2

from scripts.faults.__main__ import fault_rows
from scripts.faults.attacks import guessed_ids
from scripts.faults.attacks.access import certificates_row, restricted_endpoints_row
from scripts.faults.attacks.guessed_ids import guessed_ids_row
from scripts.faults.attacks.huge_messages import huge_message_rows
from scripts.faults.attacks.idle_connections import idle_connection_rows
from scripts.faults.attacks.raw_http2 import RawPeer
from scripts.faults.fuzz import Answers
from scripts.faults.load_generator import LoadResult, UtteranceSet, bystanders_row, utterances_of
from scripts.faults.malformed import malformed_requests
from tritone_server.launcher import TritonServer

NAMES = ["small_nanocodec", "small_mimi"]


@pytest.fixture(scope="module")
def utterances(server: TritonServer) -> dict[str, UtteranceSet]:
    return {name: utterances_of(name, server.url) for name in NAMES}


def test_malformed_requests_are_all_answered_beside_good_streams(repository: Path) -> None:
    (found,) = fault_rows(repository, NAMES[:1], {"fuzz": 100}, Console(quiet=True))
    rows = {row.check: row for row in found}
    assert list(rows) == ["fuzz_refused", "fuzz_improper", "fuzz_memory", "fuzz_lost"]
    for check in ("fuzz_refused", "fuzz_improper", "fuzz_lost"):
        assert rows[check].ok, rows[check]
    assert rows["fuzz_refused"].value > 50


def test_malformed_requests_are_the_same_every_time_and_use_every_transport() -> None:
    model = service_pb2.ModelMetadataResponse(name="codec_decode")
    model.inputs.add(name="tokens", datatype="INT64", shape=[-1, 8, -1])
    made = malformed_requests([model], 300)
    assert made == malformed_requests([model], 300)
    assert min(Counter(request.transport for request in made).values()) > 30
    assert len(set(made)) > 200


def test_no_answer_and_a_dead_model_are_improper() -> None:
    answers = Answers()
    answers.add("INVALID_ARGUMENT", "tokens must be in 0..4031")
    answers.add("INTERNAL", "Stub process is not healthy.", proper=False)
    assert answers.formatted == "INVALID_ARGUMENT 1, INTERNAL 1"
    assert answers.improper == ["INTERNAL Stub process is not healthy."]
    assert not bystanders_row("any", LoadResult()).ok, "no stream ended"
    assert bystanders_row("any", LoadResult(streams=1, expected=9, delivered=9)).ok
    assert not bystanders_row("any", LoadResult(streams=1, expected=9, delivered=9, resumed=1)).ok


def test_clients_without_the_right_certificate_are_refused_and_no_client_changes_the_server(
    server: TritonServer,
) -> None:
    for row in (certificates_row(server), restricted_endpoints_row(server)):
        assert row.ok, row


def test_guessed_ids_are_refused(
    server: TritonServer, utterances: dict[str, UtteranceSet], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guessed_ids, "_GUESSES", 120)
    for name in NAMES:
        row = guessed_ids_row(server, name, utterances[name])
        assert row.ok, row


def test_idle_connections_leave_room_for_other_clients(
    server: TritonServer, utterances: dict[str, UtteranceSet]
) -> None:
    *kinds, lost = idle_connection_rows(server, utterances, 100)
    assert [row.check for row in kinds] == ["attack_idle_silent", "attack_idle_http2"]
    for row in kinds:
        assert "100 of 100 connected; a new client is served" in row.how
    assert lost.ok, lost


def test_large_messages_are_refused_and_other_streams_run_on(
    server: TritonServer, utterances: dict[str, UtteranceSet]
) -> None:
    """How much memory they leave on the server is measured by ``make faults``."""
    claimed, large, lost = huge_message_rows(server, utterances, full=False)
    assert "4 GB announced and 1 MB sent" in claimed.how
    assert "NOT_FOUND after" in large.how
    assert lost.ok, lost


def test_the_minimal_http2_client_gets_its_status(server: TritonServer) -> None:
    path = "/inference.GRPCInferenceService/ModelInfer"
    assert RawPeer("127.0.0.1", server.ports.grpc).ask(path, b"", 0) == "NOT_FOUND"
    assert RawPeer("127.0.0.1", server.ports.grpc).ask("/no/such", b"", 0) == "UNIMPLEMENTED"
