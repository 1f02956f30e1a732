"""Every engine of every codec compiles, at full geometry, by the real TensorRT-RTX on this machine's CPU."""

from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FULL_SIZE

from prepare import ENGINES, MEASURED
from tritone_build.codecs import outline_of
from tritone_build.codecs.base import Codec
from tritone_build.engines import engine_roles
from tritone_build.manifests import ENGINE_FILE, read_manifest
from tritone_build.model_configs import model_name
from tritone_build.profiles import profiles_of
from tritone_build.role import Role
from tritone_build.roles import roles


def outlined(name: str) -> tuple[Codec, list[Role]]:
    with torch.device("meta"):
        codec = outline_of(MEASURED[name])
        return codec, engine_roles(roles(codec, "tensorrt"))


ENGINES_OF = [(name, role.name) for name in FULL_SIZE for role in outlined(name)[1]]


@pytest.fixture(scope="module", autouse=True)
def built(engines_in_background: "Future[None]") -> None:
    engines_in_background.result()


def version(name: str, role: str) -> Path:
    return ENGINES / model_name(name, role) / "1"


@pytest.mark.parametrize(("name", "role"), ENGINES_OF)
def test_it_compiles_in_fp16_for_every_profile_and_computes_what_fp32_does(name: str, role: str) -> None:
    manifest: dict[str, Any] = read_manifest(version(name, role))["engine"]
    assert (version(name, role) / ENGINE_FILE).stat().st_size == manifest["bytes"] > 1e6
    codec, parts = outlined(name)
    (of_role,) = [part for part in parts if part.name == role]
    names = [profile.name for profile in profiles_of(of_role, codec.geometry)]
    assert [profile["name"] for profile in manifest["profiles"]] == names
    assert manifest["fp16_share_of_weights"] > 0.6
    fidelity = manifest["fidelity"]
    assert fidelity.get("snr_db", 99) > 50
    assert fidelity.get("equal_tokens", 1) > 0.95
    assert manifest["peak_memory_mb"] < 8000
