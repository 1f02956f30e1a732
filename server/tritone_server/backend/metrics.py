"""Prometheus metrics of live streams, and the timer that ends idle streams."""

import os
import threading
from collections.abc import Mapping
from typing import Any

from tritone_runtime.streams.scheduler import StreamScheduler

__all__ = ["MetricsExporter"]

_INTERVAL_S = 0.5


class MetricsExporter:
    """Ends idle streams, publishes metrics and writes the log twice a second, in a thread of its own.

    Requests do not update metrics: one update takes about as long as answering a request.

    Triton has one metric for equal names and labels (``src/metric_family.cc`` in its core): counters of
    several processes add up there, but each process overwrites the gauges of the others, and the first
    process to end deletes the metric. So each process of a model has a label of its own, except in the two
    gauges that are facts of the model: only the first process publishes those.

    Args:
        triton: Triton's module for Python backends.
        model: the model's name, a label of every metric.
        streams: the model's live streams.
        process: the number of this process among those of the model; None if it is the only one.
    """

    def __init__(self, triton: Any, model: str, streams: StreamScheduler, process: int | None = None):
        self._streams, self._facts = streams, {"model": model}
        self._labels = self._facts if process is None else self._facts | {"process": str(process)}
        gauge, counter = triton.MetricFamily.GAUGE, triton.MetricFamily.COUNTER
        self._families = {
            name: triton.MetricFamily(name=f"tritone_{name}", description=description, kind=kind)
            for name, kind, description in (
                ("streams_live", gauge, "Live streams"),
                ("streams_places", gauge, "Most streams that may be live at once"),
                ("stream_frame_seconds", gauge, "Duration of a frame; a step must take less than this"),
                ("streams_refused_total", counter, "Streams rejected because the server was full"),
                ("streams_expired_total", counter, "Streams ended because they were idle"),
                ("streams_resumed_total", counter, "Streams that continue here after a failover or restart"),
                ("stream_late_total", counter, "Answers whose step took longer than the audio in it"),
                ("stream_clipped_total", counter, "Samples of INT16 audio at full scale"),
                ("stream_steps_total", counter, "Steps, by the number of streams in the batch"),
                (
                    "stream_step_seconds_total",
                    counter,
                    "Time in steps, by the number of streams in the batch",
                ),
            )
        }
        self._metrics: dict[tuple[str, str], Any] = {}
        self._published: dict[tuple[str, str], float] = {}
        if not process:
            self._metric("streams_places", self._facts).set(streams.limits.streams)
            self._metric("stream_frame_seconds", self._facts).set(streams.limits.frame_s)
        self._publish()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and write the rest of the log."""
        self._done.set()
        self._thread.join()
        self._streams.event_log.write()

    def _watch(self) -> None:
        server = os.getppid()
        while not self._done.wait(_INTERVAL_S):
            if os.getppid() != server:
                return  # the server crashed: an update would block forever and keep this process alive
            self._streams.expire()
            self._publish()
            self._streams.event_log.write()

    def _publish(self) -> None:
        counters = self._streams.counters
        self._metric("streams_live", self._labels).set(self._streams.live)
        self._raise_to("streams_refused_total", counters.refused)
        self._raise_to("streams_expired_total", counters.expired)
        self._raise_to("streams_resumed_total", counters.resumed)
        self._raise_to("stream_late_total", counters.late)
        self._raise_to("stream_clipped_total", counters.clipped)
        for size, (steps, seconds) in list(counters.batches.items()):
            labels = {"batch": str(size)}
            self._raise_to("stream_steps_total", steps, labels)
            self._raise_to("stream_step_seconds_total", seconds, labels)

    def _metric(self, family: str, labels: Mapping[str, str]) -> Any:
        key = family, str(labels)
        if key not in self._metrics:
            self._metrics[key] = self._families[family].Metric(labels=labels)
        return self._metrics[key]

    def _raise_to(self, family: str, total: float, more: Mapping[str, str] | None = None) -> None:
        labels = {**self._labels, **(more or {})}
        key = family, str(labels)
        before = self._published.get(key, 0.0)
        if total > before or key not in self._published:
            self._metric(family, labels).increment(total - before)
            self._published[key] = total
