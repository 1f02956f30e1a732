"""Start, watch and stop a Triton server process."""

import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from types import TracebackType

from tritone_runtime.errors import DamagedModelError, DeviceError, EngineMisfitError, RepositoryError
from tritone_runtime.fit import check_device, check_fit, check_whole, engines_among, machine_here
from tritone_runtime.repository import ROLES, models_of, pipeline_of
from tritone_runtime.state_pool import pool_option, state_pool_bytes
from tritone_server.binaries import ServerError, find_server, shell_path
from tritone_server.cache import CACHE
from tritone_server.direct import opened
from tritone_server.interrupts import stopped_by_signals
from tritone_server.settings.instances import run_in_processes
from tritone_server.settings.listen_address import ListenAddress
from tritone_server.settings.options import KEPT_REQUESTS, Ports, ServerTls, Traces
from tritone_server.settings.restricted_endpoints import (
    allow_many_connections,
    endpoint_restrictions,
    only_models,
)
from tritone_server.stale import end_orphans, remove_stale_regions

__all__ = ["Ports", "ServerError", "ServerTls", "Traces", "TritonServer", "serving"]

_HARMLESS = "CudaDriverHelper has not been initialized"
_SERVING = CACHE / "serving"
_START_TIMEOUT_S = 120
_MAX_LOADING = 4
_STARVED = re.compile("lock_exception|is not healthy|Failed to obtain the health mutex")
"""Triton's log messages for a model's process that gave no sign of life for a second while loading."""
_GRACE_S, _STOPPING_S = 10, 2
"""Seconds that the server waits for live streams to end, and that we wait for the server after that."""

_log = logging.getLogger("tritone")


class _StarvedError(ServerError):
    """The start failed for lack of processor time; another attempt may succeed."""


@dataclass
class TritonServer:
    """A Triton process that serves some codecs of a repository; a context manager.

    Args:
        repository: folder of models.
        codecs: names of the codecs to serve; each has at least a decoder and an encoder.
        host: address to listen on.
        ports: TCP ports to listen on.
        device: device that our backend runs models on: cpu, cuda, or auto (what they were built for).
        max_streams: most live streams per model, if that is fewer than the model's own limit.
        instances: processes for each model of live streams; all of them together have ``max_streams``.
        tls: certificates of the gRPC port; HTTP and metrics stay unencrypted, for checks on this machine.
        log_streams: log the start and end of every stream; by default only faults are logged.
        traces: where traces of some requests are sent, by OpenTelemetry's protocol (OTLP) over HTTP.
        grace_s: seconds that live streams may continue after :meth:`stop`, which rejects new ones.
        also: folders of other models to serve beside the codecs, for instance one that calls them.
    """

    repository: Path
    codecs: Sequence[str]
    host: str = "127.0.0.1"
    ports: Ports = field(default_factory=Ports)
    device: str = "auto"
    max_streams: int | None = None
    instances: int = 1
    grace_s: int = _GRACE_S
    tls: ServerTls | None = None
    log_streams: bool = False
    traces: Traces | None = None
    also: Sequence[Path] = ()

    def __post_init__(self) -> None:
        self.log = CACHE / "logs" / f"tritonserver-{self.ports.grpc}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.listening = ListenAddress.at(self.host)
        # The name is unique: another server that tries a taken port must not change the models served there.
        self._folder = _SERVING / f"{self.ports.grpc}-{secrets.token_hex(4)}"

    @property
    def url(self) -> str:
        """The gRPC address for clients on this machine."""
        return self.listening.here(self.ports.grpc)

    @property
    def metrics_url(self) -> str:
        """The URL that Prometheus scrapes."""
        return f"http://{self.listening.here(self.ports.metrics)}/metrics"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "started"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_status(self) -> int | None:
        """The exit status, or the negative number of the signal that ended the server; None while it runs."""
        assert self._process is not None, "started"
        return self._process.poll()

    @property
    def previous_log(self) -> Path:
        """The log of the start before the current one."""
        return self.log.with_suffix(".previous.log")

    def models(self) -> list[str]:
        """Names of the models to load; raises ServerError naming a file that is missing."""
        return [name for codec in self.codecs for name in self._models_of(codec)]

    def _models_of(self, codec: str) -> list[str]:
        try:
            return models_of(self.repository, codec)
        except RepositoryError as error:
            raise ServerError(str(error)) from error

    def command(self) -> tuple[list[str], dict[str, str]]:
        """The server's command line and the environment variables it needs."""
        executable, backends, environment = find_server()
        self._refuse_foreign_engines(backends)
        options = {
            "model-repository": self._served_alone(),
            "backend-directory": backends,
            "model-control-mode": "none",
            "http-port": self.ports.http,
            "grpc-port": self.ports.grpc,
            "metrics-port": self.ports.metrics,
            "log-verbose": 0,
            "grpc-infer-allocation-pool-size": KEPT_REQUESTS,
            # More at once would not load sooner but compete for the cores; see start().
            "model-load-thread-count": min(_MAX_LOADING, os.cpu_count() or 1),
            "exit-timeout-secs": self.grace_s,
        }
        options |= self.listening.options() | endpoint_restrictions()
        options |= {} if self.tls is None else self.tls.options()
        engines = engines_among(self.repository, self.models())
        options |= pool_option(state_pool_bytes(self.repository, engines))
        flags = [f"--{name}={value}" for name, value in options.items()]
        # Configurations are complete; auto-completion would load each model in a process twice.
        flags.append("--disable-auto-complete-config")
        flags += [] if self.traces is None else self.traces.flags()
        environment = environment | {"TRITONE_DEVICE": self.device}
        environment |= {} if self.traces is None else self.traces.environment()
        if self.max_streams is not None:
            environment["TRITONE_MAX_STREAMS"] = str(self.max_streams)
        if self.log_streams:
            environment["TRITONE_LOG_STREAMS"] = "1"
        return [str(executable), *flags], environment

    def _served_alone(self) -> Path:
        names = [*self.models(), *(part for codec in self.codecs for part in pipeline_of(codec))]
        folder = only_models([*(self.repository / name for name in names), *self.also], self._folder)
        if self.instances > 1:
            run_in_processes(folder, self.models(), self.instances)
        return shell_path(folder)

    def _possible_models(self) -> list[str]:
        return [f"{codec}_{role}" for codec in self.codecs for role in ROLES]

    def _refuse_foreign_engines(self, backends: Path) -> None:
        try:
            check_fit(self.repository, self._possible_models(), machine_here(backends))
            check_device(self.repository, self._possible_models(), self.device)
        except (EngineMisfitError, DeviceError) as error:
            raise ServerError(str(error)) from error

    def _refuse_damaged_models(self) -> None:
        try:
            check_whole(self.repository, self._possible_models())
        except DamagedModelError as error:
            raise ServerError(str(error)) from error

    def start(self) -> "TritonServer":
        """Start the server and wait until every model is ready.

        On a busy machine a model's process may get no core for a second while it loads. Triton then gives
        the model up, or waits for it forever. In both cases the server is started again: at least once, and
        until two minutes have passed since the first start.

        Raises:
            ServerError: the server cannot start; the message has the server's own reason.
        """
        latest, again = time.monotonic() + _START_TIMEOUT_S, False
        while True:
            try:
                return self._started(again)
            except _StarvedError as error:
                if again and time.monotonic() > latest:
                    raise
                _log.warning("%s; starting the server again", error)
                again = True

    def _started(self, again: bool) -> "TritonServer":
        command, environment = self.command()
        if not again:  # once is enough, since it reads every weight
            self._refuse_damaged_models()
        self.ports.refuse_taken(self.listening)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        allow_many_connections()
        end_orphans()
        remove_stale_regions()
        for stale in set(_SERVING.glob(f"{self.ports.grpc}-*")) - {self._folder}:
            shutil.rmtree(stale, ignore_errors=True)  # its server was killed: this one has the port
        with suppress(FileNotFoundError):
            self.log.replace(self.previous_log)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, env=os.environ | environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_until_ready(self._process)
        except BaseException:  # also KeyboardInterrupt: the server has its own session and gets no Ctrl-C
            self.stop()
            raise
        return self

    def _wait_until_ready(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.ready:
            if process.poll() is not None:
                starved = _STARVED.search(self.log.read_text(errors="replace"))
                kind = _StarvedError if starved else ServerError
                raise kind(f"the server ended while starting: {self._reason()} (log: {self.log})")
            if time.monotonic() > deadline:
                raise _StarvedError(f"the server was not ready within {_START_TIMEOUT_S} s (log: {self.log})")
            time.sleep(0.1)

    def stop(self) -> None:
        """Let requests in flight end, then stop; kill the server if that takes too long or is interrupted."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.terminate()
            self._process.wait(self.grace_s + _STOPPING_S)
        self.kill()

    def kill(self) -> None:
        """Kill the server and its models' processes."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):  # models' processes outlive a killed server
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> "TritonServer":
        return self.start()

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    @property
    def ready(self) -> bool:
        """Whether the server's health endpoint says that it is ready."""
        try:
            url = f"http://{self.listening.here(self.ports.http)}/v2/health/ready"
            with opened(url, timeout_s=1) as answer:
                return bool(answer.status == HTTPStatus.OK)
        except (HTTPException, OSError):
            return False

    def _reason(self) -> str:
        text = self.log.read_text(errors="replace")
        failed = re.findall(r"failed to load '(\S+)' version \d+: (.+)", text)
        if failed:
            return "; ".join(f"{model}: {why}" for model, why in failed)
        errors = [line for line in text.splitlines() if line.startswith("E") and _HARMLESS not in line]
        return (errors or text.strip().splitlines() or ["no output"])[-1]


@contextmanager
def serving(
    repository: Path, codecs: Sequence[str], max_streams: int | None = None, instances: int = 1
) -> Iterator[TritonServer]:
    """Run a server on free loopback ports, for tests and measurements."""
    server = TritonServer(
        repository, codecs, ports=Ports.free(), max_streams=max_streams, instances=instances
    )
    with stopped_by_signals(), server:
        yield server
