"""Attacks by strangers on a single server; each row is one attack and the most that it may achieve."""

from collections.abc import Mapping

from scripts.common.report import Row
from scripts.faults.attacks.access import certificates_row, restricted_endpoints_row
from scripts.faults.attacks.guessed_ids import guessed_ids_row
from scripts.faults.attacks.huge_messages import huge_message_rows
from scripts.faults.attacks.idle_connections import idle_connection_rows
from scripts.faults.load_generator import UtteranceSet
from tritone_server.launcher import TritonServer

__all__ = ["attack_rows"]

_FULL = 10_000
"""Number of idle connections from which on messages of gigabytes are sent too."""


def attack_rows(server: TritonServer, utterances: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """Rows for every attack, with ``count`` idle connections."""
    return [
        certificates_row(server),
        restricted_endpoints_row(server),
        *(guessed_ids_row(server, codec, each) for codec, each in utterances.items()),
        *idle_connection_rows(server, utterances, count),
        *huge_message_rows(server, utterances, count >= _FULL),
    ]
