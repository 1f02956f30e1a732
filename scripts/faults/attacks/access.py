"""Access without the right: clients without the right certificate, and endpoints that change the server."""

import tempfile
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

from scripts.common.certificates import write_certificates
from scripts.common.report import Row
from tritone_client import Codec, Tls, TritoneError
from tritone_server.direct import channel_to
from tritone_server.launcher import Ports, ServerTls, TritonServer

__all__ = ["certificates_row", "restricted_endpoints_row"]

_TIMEOUT_S = 60.0
_REJECTED = {"ServerUnavailableError", "WrongProtocolError"}


def certificates_row(server: TritonServer) -> Row:
    """Clients without the right certificate, at an extra server that requires one; none may be served."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, days in (("right", 2), ("foreign", 2), ("expired", -2)):
            write_certificates(folder / kind, days=days)
        right = folder / "right"
        tls = ServerTls(right / "server.pem", right / "server.key", right / "ca.pem")
        codec = server.codecs[0]
        with TritonServer(server.repository, [codec], ports=Ports.free(), tls=tls) as mutual:
            outcomes = {kind: _outcome(mutual, codec, tls) for kind, tls in _wrong_settings(folder).items()}
            accepted = _outcome(mutual, codec, _settings(right, right))
    served = [kind for kind, outcome in outcomes.items() if outcome == "served"]
    how = ", ".join(f"{kind}: {outcome}" for kind, outcome in outcomes.items())
    how += f"; the right one: {accepted}"
    ok = accepted == "served" and set(outcomes.values()) <= _REJECTED
    return Row("all", "attack_strangers", len(served), "served", f"0 of {len(outcomes)}", ok, how)


def _wrong_settings(folder: Path) -> dict[str, Tls | None]:
    right, foreign, expired = (folder / kind for kind in ("right", "foreign", "expired"))
    return {
        "without TLS": None,
        "without a certificate": Tls(right / "ca.pem"),
        "another authority's": _settings(foreign, right),
        "expired": _settings(expired, right),
        "a client that trusts another authority": _settings(right, foreign),
    }


def _settings(folder: Path, ca: Path) -> Tls:
    """The client certificate in ``folder``, and the authority in ``ca`` to check the server with."""
    return Tls(ca / "ca.pem", folder / "client.pem", folder / "client.key")


def _outcome(server: TritonServer, codec: str, tls: Tls | None) -> str:
    try:
        with Codec(codec, server.url, timeout_s=_TIMEOUT_S, tls=tls) as client:
            client.decode(np.zeros((client.info.num_codebooks, 8), np.int64))
    except TritoneError as error:
        return type(error).__name__
    return "served"


def restricted_endpoints_row(server: TritonServer) -> Row:
    """Endpoints through which any client could change a Triton with default settings; none may be open."""
    requests = {
        "RepositoryModelUnload": pb.RepositoryModelUnloadRequest(model_name=f"{server.codecs[0]}_decode"),
        "RepositoryModelLoad": _load_python_code(),
        "SystemSharedMemoryRegister": pb.SystemSharedMemoryRegisterRequest(name="x", key="/x", byte_size=8),
        "TraceSetting": pb.TraceSettingRequest(),
        "LogSettings": pb.LogSettingsRequest(),
    }
    with channel_to(server.url) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        statuses = {method: _status(getattr(stub, method), each) for method, each in requests.items()}
    opened = [method for method, status in statuses.items() if status == "OK"]
    how = ", ".join(f"{method}: {status}" for method, status in statuses.items())
    return Row("all", "attack_doors", len(opened), "opened", f"0 of {len(statuses)}", not opened, how)


def _load_python_code() -> Any:
    """A request to load a model made of Python code, which Triton would execute."""
    request = pb.RepositoryModelLoadRequest(model_name="injected")
    request.parameters["config"].string_param = '{"backend": "python"}'
    request.parameters["file:1/model.py"].bytes_param = b"class TritonPythonModel: pass"
    return request


def _status(method: Any, request: Any) -> str:
    try:
        method(request, timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"
