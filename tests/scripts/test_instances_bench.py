"""The benchmark of several processes of a model; its clients send as fast as the server answers."""

from scripts.bench.instances import instance_rows


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
