"""End a model's process when Triton no longer waits for its answer.

Triton's Python backend gives up a batch when the model's process gives no sign of life for one second: the
process was stopped, its machine was paused, or it got no core (python_backend, ``ReceiveMessageFromStub`` in
``src/stub_launcher.cc``, in r24.10 and in its main of July 2026). Triton neither ends nor restarts the
process. It takes the late answer for the answer to the next batch, so clients get each other's audio.
Therefore the process checks before each answer whether its batch was given up, and ends if so. The process
may still pause between the check and the answer; the nonce in each answer (``tensors.py``) covers that.
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
"""Indexes of the process's arguments with the shared memory region and the offset of its control block."""
_OWNER = 16
"""Size of the header before every object in the region (``AllocatedShmOwnership``), in bytes."""
_QUEUE_IN_CONTROL = 88
"""Offset of the queue's handle in ``IPCControlShm``, after four flags and two mutexes of 40 bytes."""
_SIZE_IN_QUEUE, _QUEUE = 104, struct.Struct("=qqii")
"""``MessageQueueShm``: two semaphores of 32 bytes, a mutex, then size, handle of the buffer, head, tail."""
_QUEUE_BYTES = 160
"""Size of a queue with its header, as the allocator rounds it, in bytes; the queue's buffer follows."""
_INTERVAL_S = 0.25


class TritonQueue:
    """Triton's queue of messages to this process, read from shared memory (``src/message_queue.h``).

    Args:
        arguments: this process's command line arguments.
        folder: the folder of shared memory regions.

    Raises:
        ValueError: this version of Triton has another queue layout.
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
            raise ValueError(f"found no message queue of Triton's Python backend: {error!r}") from error
        if buffer != handle + _QUEUE_BYTES or not (0 <= head < size and 0 <= tail < size):
            raise ValueError(
                f"the message queue has an unexpected layout: {size} places, handle {handle}, buffer {buffer}"
            )

    @property
    def is_empty(self) -> bool:
        """Whether no message is waiting."""
        _, _, head, tail = _QUEUE.unpack_from(self._memory, self._at)
        return bool(head == tail)


class ProcessGuard:
    """Ends this process if Triton has given up its batch, and within a second if the server has ended.

    Args:
        model: the model's name, for the log.
        server: process id of the server.
        queue: Triton's messages to this process; None if it cannot be read, so that only the nonce protects
            clients.
        end: called with the exit status to end the process.
    """

    def __init__(
        self, model: str, server: int, queue: TritonQueue | None, end: Callable[[int], object] = os._exit
    ):
        self._model, self._server, self._queue, self._end = model, server, queue, end
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end_if_given_up(self) -> None:
        """Call this before answering; Triton sends a message during a batch only if it gave the batch up."""
        if self._queue is not None and not self._queue.is_empty:
            self._leave("Triton has given up the batch that this process is running, so the process ends")

    def end_if_broken(self, broken: bool) -> None:
        """End the process if no run can succeed any more: clients go on elsewhere, and it is replaced."""
        if broken:
            self._leave("the GPU has failed, so the process ends")

    def close(self) -> None:
        """Stop the thread that watches the server."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_INTERVAL_S):
            if os.getppid() != self._server:
                self._leave("the server has ended without ending this process, so the process ends")

    def _leave(self, why: str) -> None:
        sys.stderr.write(f"model {self._model}: {why}\n")
        sys.stderr.flush()
        self._end(1)
