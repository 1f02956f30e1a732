"""The benchmark of several processes of a model; its clients send as fast as the server answers."""

import multiprocessing
from pathlib import Path

from helpers.servers.raw import comes_true

from scripts.bench.instances.load import instance_rows
from scripts.bench.instances.pass_through import CODEC, write_pass_through
from scripts.bench.instances.stream_clients import run_client
from tritone_server.launcher import serving

CLIENTS, STREAMS, ANSWERS = 2, 16, 20_000


def test_rows_say_what_a_request_costs_each_side() -> None:
    rows = instance_rows(2, clients=1, streams=2, seconds=0.2)
    assert [row.check for row in rows] == [
        "instances_requests",
        "instances_processor_time_triton",
        "instances_processor_time_model",
        "instances_processor_time_clients",
    ]
    assert all(row.at == 2 and row.how.startswith("instances: 2; 1 clients with 2 streams") for row in rows)
    assert rows[0].value > 0


def test_a_server_survives_clients_that_send_as_fast_as_it_answers(tmp_path: Path) -> None:
    """Triton would write to request objects that it has freed, if it kept none of them for reuse."""
    context = multiprocessing.get_context("spawn")
    with serving(write_pass_through(tmp_path), [CODEC], instances=2) as server:
        over, answers = context.Event(), context.Array("Q", CLIENTS, lock=False)
        clients = [
            context.Process(target=run_client, args=(server.url, STREAMS, n, answers, over))
            for n in range(CLIENTS)
        ]
        for client in clients:
            client.start()
        assert comes_true(lambda: sum(answers) >= ANSWERS or not server.running)
        over.set()
        for client in clients:
            client.join()
        assert server.running
    assert [client.exitcode for client in clients] == [0, 0]
