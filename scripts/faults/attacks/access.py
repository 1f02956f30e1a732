"""One server as an attacker would treat it; each row is one thing tried, and what may come of it at most."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from scripts.common.certificates import write_certificates
from scripts.common.report import Row
from scripts.faults.attacks.guessed_ids import ids_row
from scripts.faults.attacks.huge_messages import size_rows
from scripts.faults.attacks.idle_connections import idle_rows
from scripts.faults.load_generator import UtteranceSet
from tritone_client import Codec, Tls, TritoneError
from tritone_server.direct import channel_to
from tritone_server.launcher import Ports, ServerTls, TritonServer

__all__ = ["attacks_rows", "certificates_row", "restricted_endpoints_row"]

_FULL, _WITHIN_S = 10_000, 60.0
_TURNED_AWAY = {"ServerUnavailableError", "WrongProtocolError"}


def attacks_rows(server: TritonServer, spoken: Mapping[str, UtteranceSet], count: int) -> list[Row]:
    """So many idle connections, and all else once; messages of gigabytes only where ``count`` is full."""
    return [
        certificates_row(server),
        restricted_endpoints_row(server),
        *(ids_row(server, codec, each) for codec, each in spoken.items()),
        *idle_rows(server, spoken, count),
        *size_rows(server, spoken, count >= _FULL),
    ]


def certificates_row(server: TritonServer) -> Row:
    """Everybody without the right certificate, at a server of its own that asks for one."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, days in (("right", 2), ("foreign", 2), ("expired", -2)):
            write_certificates(folder / kind, days=days)
        right = folder / "right"
        tls = ServerTls(right / "server.pem", right / "server.key", right / "ca.pem")
        codec = server.codecs[0]
        with TritonServer(server.repository, [codec], ports=Ports.free(), tls=tls) as mutual:
            met = {kind: _met(mutual, codec, tls) for kind, tls in _strangers(folder).items()}
            friend = _met(mutual, codec, _shown(right, right))
    served = [kind for kind, what in met.items() if what == "served"]
    how = ", ".join(f"{kind}: {what}" for kind, what in met.items()) + f"; the right one: {friend}"
    ok = friend == "served" and set(met.values()) <= _TURNED_AWAY
    return Row("all", "attack_strangers", len(served), "served", f"0 of {len(met)}", ok, how)


def _strangers(folder: Path) -> dict[str, Tls | None]:
    right, foreign, expired = (folder / kind for kind in ("right", "foreign", "expired"))
    return {
        "without TLS": None,
        "without a certificate": Tls(right / "ca.pem"),
        "another authority's": _shown(foreign, right),
        "expired": _shown(expired, right),
        "who trusts another server": _shown(right, foreign),
    }


def _shown(folder: Path, ca: Path) -> Tls:
    return Tls(ca / "ca.pem", folder / "client.pem", folder / "client.key")


def _met(server: TritonServer, codec: str, tls: Tls | None) -> str:
    try:
        with Codec(codec, server.url, timeout_s=_WITHIN_S, tls=tls) as client:
            client.decode(np.zeros((client.info.num_codebooks, 8), np.int64))
    except TritoneError as error:
        return type(error).__name__
    return "served"


def restricted_endpoints_row(server: TritonServer) -> Row:
    """What Triton, started without further words, would let any client change."""
    tried = {
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name=f"{server.codecs[0]}_decode"),
        "RepositoryModelLoad": _code(),
        "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=8),
        "TraceSetting": pb.TraceSettingRequest(),
        "LogSettings": pb.LogSettingsRequest(),
    }
    with channel_to(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        met = {method: _status(getattr(stub, method), request) for method, request in tried.items()}
    opened = [method for method, status in met.items() if status == "OK"]
    how = ", ".join(f"{method}: {status}" for method, status in met.items())
    return Row("all", "attack_doors", len(opened), "opened", f"0 of {len(met)}", not opened, how)


def _code() -> Any:
    """A model of Python code, which Triton would run."""
    request = pb.RepositoryModelLoadRequest(model_name="of_mine")
    request.parameters["config"].string_param = '{"backend": "python"}'
    request.parameters["file:1/model.py"].bytes_param = b"class TritonPythonModel: pass"
    return request


def _status(method: Any, request: Any) -> str:
    try:
        method(request, timeout=_WITHIN_S)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
