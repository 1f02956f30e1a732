"""A minimal HTTP/2 client, which sends gRPC messages of any size without holding them in memory."""

import re
import socket
import struct
import time
from collections.abc import Iterator

import grpc  # type: ignore[import-untyped]

__all__ = ["PREFACE", "RawPeer"]

_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM, _END_HEADERS, _ACK, _INITIAL_WINDOW = 1, 4, 1, 4
_STREAM, _FRAME, _WINDOW_AT_FIRST = 1, 16_384, 65_535
_STATUS = re.compile(rb"grpc-status.(\d+)", re.DOTALL)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0)
"""The first bytes of every HTTP/2 connection."""


class RawPeer:
    """A connection for one request.

    Args:
        host: of the server.
        port: its gRPC port.
        timeout_s: longest wait for an answer, after everything is sent.
    """

    def __init__(self, host: str, port: int, timeout_s: float = 60.0):
        self._socket, self._timeout_s = socket.create_connection((host, port), timeout_s), timeout_s
        self._windows = {0: _WINDOW_AT_FIRST, _STREAM: _WINDOW_AT_FIRST}
        self._initial, self._unread, self._outcome = _WINDOW_AT_FIRST, b"", ""

    def ask(self, path: str, head: bytes, zeros: int, announced: int | None = None) -> str:
        """Send a message of ``head`` and zeros; return the name of the status that answers it.

        Args:
            path: of the gRPC method.
            head: first bytes of the message.
            zeros: number of zero bytes after the head.
            announced: length to announce instead of the real one; the message is then left unfinished.

        Returns:
            The status, or in words how the exchange ended without one.
        """
        length = len(head) + zeros if announced is None else announced
        with self._socket:
            try:
                self._socket.sendall(PREFACE + _frame(_HEADERS, _END_HEADERS, _STREAM, _headers(path)))
                self._send(struct.pack(">BI", 0, length) + head)
                for size in _pieces(zeros):
                    if self._outcome:
                        break
                    self._send(bytes(size))
                if announced is None:
                    self._socket.sendall(_frame(_DATA, _END_STREAM, _STREAM))
                    self._wait_for_outcome()
            except OSError as error:
                return self._outcome or f"hung up: {error.strerror or error}"
        return self._outcome or ("no answer" if announced is None else "left unfinished")

    def _send(self, data: bytes) -> None:
        while data and not self._outcome:
            room = min(*self._windows.values(), _FRAME)
            if room <= 0:
                self._read(self._timeout_s)
                continue
            part, data = data[:room], data[room:]
            self._socket.sendall(_frame(_DATA, 0, _STREAM, part))
            for window in self._windows:
                self._windows[window] -= len(part)

    def _wait_for_outcome(self) -> None:
        until_s = time.monotonic() + self._timeout_s
        while not self._outcome and time.monotonic() < until_s:
            self._read(until_s - time.monotonic())

    def _read(self, timeout_s: float) -> None:
        """Receive frames from the server, and acknowledge those that need it."""
        self._socket.settimeout(max(0.01, timeout_s))
        got = self._socket.recv(1 << 16)
        if not got:
            self._outcome = "hung up"
        self._unread += got
        while len(self._unread) >= 9:  # noqa: PLR2004
            length = int.from_bytes(self._unread[:3], "big")
            if len(self._unread) < 9 + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._unread[3:9])
            payload, self._unread = self._unread[9 : 9 + length], self._unread[9 + length :]
            self._handle(kind, flags, stream, payload)

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _WINDOW and stream in self._windows:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind == _SETTINGS and not flags & _ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                if name == _INITIAL_WINDOW:
                    self._windows[_STREAM] += value - self._initial
                    self._initial = value
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _HEADERS and (found := _STATUS.search(payload)):
            self._outcome = self._outcome or _NAMES[int(found[1])]
        elif kind in {_RESET, _GOAWAY}:
            self._outcome = self._outcome or "hung up"


_NAMES = {status.value[0]: status.name for status in grpc.StatusCode}


def _pieces(size: int) -> Iterator[int]:
    whole, rest = divmod(size, _FRAME)
    for _ in range(whole):
        yield _FRAME
    if rest:
        yield rest


def _headers(path: str) -> bytes:
    """The request headers in HPACK, as literals."""
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "x",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return b"".join(b"\0" + _literal(name) + _literal(value) for name, value in fields.items())


def _literal(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()
