"""Who may use the gateway, and how many sockets and requests are live."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hmac import compare_digest
from pathlib import Path

from tritone_client.gateway.failures import KeyRefusedError, LimitError, SettingsError

__all__ = ["KEYS_VARIABLE", "PROTOCOL", "Keys", "Slots", "api_keys"]

KEYS_VARIABLE = "TRITONE_GATEWAY_KEYS"
"""Environment variable with API keys, separated by commas."""
PROTOCOL = "tritone"
"""The subprotocol that the gateway speaks; browsers send their key as another one."""
_KEY_PROTOCOL = "key."
_KEY = re.compile(r"[A-Za-z0-9._~-]{8,200}")


def api_keys(file: Path | None) -> tuple[str, ...]:
    """The API keys of a file, one a line, or of the environment; none if neither is given.

    Raises:
        SettingsError: the file holds no key, or a key has characters that a header cannot carry.
        OSError: the file cannot be read.
    """
    given = os.environ.get(KEYS_VARIABLE) if file is None else file.read_text()
    if given is None:
        return ()
    lines = [line.strip() for line in given.replace("," if file is None else "\n", "\n").splitlines()]
    keys = tuple(line for line in lines if line and not (file is not None and line.startswith("#")))
    if not keys:
        raise SettingsError(f"{file or KEYS_VARIABLE} holds no API key; write one, or leave it out")
    for number, key in enumerate(keys, 1):
        if not _KEY.fullmatch(key):
            raise SettingsError(f"API key {number} is not 8 to 200 letters, digits or -._~ characters")
    return keys


class Keys:
    """The API keys of a gateway; without any, everybody may use it."""

    def __init__(self, keys: Sequence[str]):
        self._keys = [key.encode() for key in keys]

    def holder(self, headers: Mapping[str, str], protocols: Sequence[str] = ()) -> str | None:
        """The name under which the key's holder is counted; None if no key is needed.

        Raises:
            KeyRefusedError: the key is missing or wrong.
        """
        if not self._keys:
            return None
        given = _bearer(headers) or _of_protocols(protocols)
        if given is None:
            raise KeyRefusedError(
                "an API key is missing: send the header 'Authorization: Bearer KEY', or, from a browser's "
                f"WebSocket, the subprotocols '{PROTOCOL}' and '{_KEY_PROTOCOL}KEY'"
            )
        found = [number for number, key in enumerate(self._keys) if compare_digest(key, given.encode())]
        if not found:
            raise KeyRefusedError("the API key is wrong; ask whoever runs this gateway for one")
        return str(found[0])


def _bearer(headers: Mapping[str, str]) -> str | None:
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


def _of_protocols(protocols: Sequence[str]) -> str | None:
    found = (each.removeprefix(_KEY_PROTOCOL) for each in protocols if each.startswith(_KEY_PROTOCOL))
    return next(found, None)


class Slots:
    """Counts what is live; ``what`` names it in messages."""

    def __init__(self, what: str, most: int, most_per_holder: int | None = None):
        self._what, self._most, self._most_per_holder = what, most, most_per_holder or most
        self._holders: Counter[str | None] = Counter()

    @property
    def taken(self) -> int:
        """How many are live."""
        return self._holders.total()

    @contextmanager
    def one(self, holder: str | None) -> Iterator[None]:
        """Take a slot for as long as the context lasts.

        Raises:
            LimitError: there is none.
        """
        if self.taken >= self._most:
            raise LimitError(
                f"the gateway has its maximum of {self._most} live {self._what}; try again later"
            )
        if holder is not None and self._holders[holder] >= self._most_per_holder:
            raise LimitError(
                f"this API key has its maximum of {self._most_per_holder} live {self._what}; end one first"
            )
        self._holders[holder] += 1
        try:
            yield
        finally:
            self._holders[holder] -= 1
