"""A process that measures points, and is replaced when a point breaks it.

An error of CUDA breaks a process for good, a crash ends it, and a compiler may never return. Each costs one
point: the next one gets a new process.
"""

import gc
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TypeAlias

import torch

from scripts.gpu.points import Point, Reading, Settings, SkippedError

__all__ = ["Outcome", "Workers"]

Outcome: TypeAlias = Reading | SkippedError | RuntimeError
"""A value, why the point cannot be measured here, or why it failed."""
_CONTEXT = multiprocessing.get_context("spawn")
_ENDING_S = 15.0
_NOTE_CHARACTERS = 600


class Workers:
    """One process at a time; a context manager.

    Args:
        settings: of the run.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def outcomes(self, point: Point, limit_s: float) -> Iterator[Outcome]:
        """Measure a point; its readings as they are made, or how it ended otherwise."""
        until, pipe, failed = time.monotonic() + limit_s, self._running(), False
        try:
            pipe.send(point)
            while True:
                if not pipe.poll(max(0.0, until - time.monotonic())):
                    self.end()
                    yield RuntimeError(f"given up after {limit_s:.0f} s")
                    return
                outcome = pipe.recv()
                if outcome is None:
                    return
                failed = isinstance(outcome, RuntimeError)
                yield outcome
        except (EOFError, OSError):
            process = self._process
            self.end()
            if not failed:  # otherwise the process has said why
                yield RuntimeError(f"the process ended with status {process.exitcode if process else None}")

    def _running(self) -> Connection:
        if self._pipe is None or self._process is None or not self._process.is_alive():
            self._pipe, theirs = _CONTEXT.Pipe()
            self._process = _CONTEXT.Process(target=_measure_points, args=(theirs, self._settings))
            self._process.start()
            theirs.close()
        return self._pipe

    def end(self) -> None:
        """End the process; what it has started gets time to end too."""
        if self._process is not None:
            self._process.terminate()
            self._process.join(_ENDING_S)
            self._process.kill()
            self._process.join()
        self._process = self._pipe = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()


def _measure_points(pipe: Connection, settings: Settings) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    from scripts.gpu.models import Models

    torch.backends.cudnn.allow_tf32 = False  # FP32 is what others are compared with
    models = Models(settings)
    with suppress(EOFError, BrokenPipeError):
        while True:
            point = pipe.recv()
            models.log.clear()
            try:
                for reading in _measured(point)(point, models):
                    pipe.send(reading)
            except SkippedError as skipped:
                pipe.send(skipped)
            except Exception as error:
                pipe.send(RuntimeError(_text(error)))
                models.release()
                _exit_if_broken(settings.device)
            gc.collect()  # graphs, and the functions that they record, refer to each other
            pipe.send(None)


def _measured(point: Point) -> Callable[..., Iterator[Reading]]:
    # A part that cannot be imported on this machine costs its own points.
    measured: Callable[..., Iterator[Reading]] = import_module(f"scripts.gpu.{point.part}_part").measured
    return measured


def _text(error: Exception) -> str:
    """What was raised, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({os.path.basename(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {str(error)[:_NOTE_CHARACTERS]}{where}"


def _exit_if_broken(device: str) -> None:
    """End this process if CUDA no longer works in it."""
    if device == "cuda":
        try:
            torch.cuda.synchronize()
        except Exception:
            os._exit(1)
