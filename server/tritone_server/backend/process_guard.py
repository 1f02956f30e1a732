"""Ends the process of a model when Triton no longer waits for it.

Triton's Python backend gives a batch up when the model's process shows no sign of life for one second: it
was stopped, its machine was paused, or it got no core (python_backend, ``ReceiveMessageFromStub`` in
``src/stub_launcher.cc``, in r24.10 and in its main of July 2026). It neither ends nor restarts the process,
and takes its late answer for the answer to the next batch, so that callers get each other's sound. Therefore
the process looks, before it answers, whether it was given up, and ends if it was. A pause between that look
and the answer remains; the nonce that each answer returns (``tensors.py``) covers it.
"""

import mmap
import os
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["ProcessGuard", "TritonQueue"]

_REGION, _CONTROL = 2, 7
"""Which of the process's arguments name the region of shared memory, and the control block in it."""
_OWNER = 16
"""Bytes of bookkeeping in front of every object in the region (``AllocatedShmOwnership``)."""
_QUEUE_IN_CONTROL = 88
"""Offset of the handle of the queue in ``IPCControlShm``: four flags, and two mutexes of 40 bytes."""
_SIZE_IN_QUEUE, _QUEUE = 104, struct.Struct("=qqii")
"""``MessageQueueShm``: two semaphores of 32 bytes, a mutex, then size, handle of the buffer, head, tail."""
_QUEUE_BYTES = 160
"""Of a queue with its bookkeeping, as the allocator rounds it: its buffer follows."""
_LOOK_S = 0.25


class TritonQueue:
    """Triton's messages to this process, read where they lie in shared memory (``src/message_queue.h``).

    Args:
        arguments: of this process.
        folder: where shared memory is.

    Raises:
        ValueError: this Triton lays its queue out in another way.
    """

    def __init__(self, arguments: Sequence[str], folder: Path = Path("/dev/shm")):  # noqa: S108
        try:
            with (folder / arguments[_REGION].lstrip("/")).open("rb") as file:
                self._memory = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            (handle,) = struct.unpack_from(
                "=q", self._memory, int(arguments[_CONTROL]) + _OWNER + _QUEUE_IN_CONTROL
            )
            self._at = handle + _OWNER + _SIZE_IN_QUEUE
            size, buffer, head, tail = _QUEUE.unpack_from(self._memory, self._at)
        except (IndexError, OSError, struct.error) as error:
            raise ValueError(f"no queue of Triton's Python backend is found: {error!r}") from error
        if buffer != handle + _QUEUE_BYTES or not (0 <= head < size and 0 <= tail < size):
            raise ValueError(f"a queue of {size} places at {handle}, {buffer} is not laid out as expected")

    @property
    def is_empty(self) -> bool:
        """Whether no message waits."""
        _, _, head, tail = _QUEUE.unpack_from(self._memory, self._at)
        return bool(head == tail)


class ProcessGuard:
    """Ends this process where Triton has given it up, and within a second where Triton has gone.

    Args:
        model: named in the log.
        server: its process id.
        queue: of Triton's messages; None where it cannot be read, so that only the nonce guards callers.
        end: ends the process.
    """

    def __init__(
        self, model: str, server: int, queue: TritonQueue | None, end: Callable[[int], object] = os._exit
    ):
        self._model, self._server, self._queue, self._end = model, server, queue, end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end_if_given_up(self) -> None:
        """Call it before answering: while a batch runs, Triton sends nothing unless it gave the batch up."""
        if self._queue is not None and not self._queue.is_empty:
            self._leave("Triton has given up the batch that this process works on, so the process ends")

    def close(self) -> None:
        """Watch no longer."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_S):
            if os.getppid() != self._server:
                self._leave("the server has ended without ending this process, so the process ends")

    def _leave(self, why: str) -> None:
        sys.stderr.write(f"model {self._model}: {why}\n")
        sys.stderr.flush()
        self._end(1)
