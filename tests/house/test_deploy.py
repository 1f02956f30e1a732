"""The files for deployment, checked without Docker or Kubernetes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.paths import ROOT

from tritone_build.cli import main
from tritone_server.settings.options import KEPT_REQUESTS

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_one_pinned_image_builds_engines_and_serves_them() -> None:
    images = {service["image"] for service in SERVICES.values()}
    (release,) = {service["build"]["args"]["TRITON"] for service in SERVICES.values()}
    assert images == {f"tritone:{release}"}
    text = (DEPLOY / "Dockerfile").read_text()
    assert f"ARG TRITON={release}\nFROM nvcr.io/nvidia/tritonserver:${{TRITON}}-py3" in text
    assert re.fullmatch(r"\d\d\.\d\d", release)
    assert release in (DEPLOY.parent / "docs" / "gpu.md").read_text()


def test_the_image_has_the_pinned_versions() -> None:
    """The constraints are such as pip takes: without extras, and PyTorch is among them."""
    text = (DEPLOY / "Dockerfile").read_text()
    (pattern,) = re.findall(r'grep -v "(.+)" /tmp/tritone/requirements.txt', text)
    pins = [
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if not re.search(pattern, line)
    ]
    assert any(line.startswith("torch==") for line in pins)
    assert not any("[" in line for line in pins)
    assert "--constraint /tmp/tritone/constraints.txt" in text


def test_nothing_runs_as_root_or_keeps_capabilities() -> None:
    for service in SERVICES.values():
        assert not service["user"].startswith(("0", "root"))
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_the_server_waits_for_engines_has_a_health_check_and_shared_memory() -> None:
    triton = SERVICES["triton"]
    assert triton["depends_on"]["engines"]["condition"] == "service_completed_successfully"
    assert triton["healthcheck"]["test"][-1].endswith("/v2/health/ready")
    assert triton["shm_size"] == "1g"
    assert triton["read_only"]
    assert all(port.startswith("127.0.0.1:") for port in triton["ports"])
    (exits_after,) = re.findall(r"--exit-timeout-secs=(\d+)", triton["command"][0])
    assert int(triton["stop_grace_period"].removesuffix("s")) > int(exits_after)


def test_the_server_gets_the_pool_for_its_streams_and_completes_no_config() -> None:
    deployment = yaml.safe_load((DEPLOY / "kubernetes" / "deployment.yaml").read_text())
    (triton,) = deployment["spec"]["template"]["spec"]["containers"]
    composed, deployed = SERVICES["triton"]["command"][0], " ".join([*triton["command"], *triton["args"]])
    for script in (composed, deployed):
        assert "tritone-build check --repository /models --flags" in script
        assert "--disable-auto-complete-config" in script
        assert f"--grpc-infer-allocation-pool-size={KEPT_REQUESTS}" in script


@pytest.mark.parametrize("name", list(SERVICES))
def test_the_commands_of_the_compose_file_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    (line,) = SERVICES[name]["command"]
    script = line.replace("$$", "$")
    subprocess.run(["bash", "-n", "-c", script], check=True)
    ours = re.search(r"tritone-build (\w+)([^&]*)", script)
    assert ours is not None
    with pytest.raises(SystemExit):
        main([ours[1], "--help"])
    help_text = capsys.readouterr().out
    for option in [word for word in shlex.split(ours[2]) if word.startswith("--")]:
        assert option in help_text


def test_the_bindings_have_the_version_of_the_library(tmp_path: Path) -> None:
    """Run the script with stand-ins for the tools of the container."""
    library = tmp_path / "libnvinfer.so.11.1.0"
    library.touch()
    (tmp_path / "libnvinfer.so.11").symlink_to(library)
    bin_folder, packages = tmp_path / "venv" / "bin", tmp_path / "packages"
    bin_folder.mkdir(parents=True)
    packages.mkdir()
    found = f"libcudart.so.13 (libc6) => /x\\n libnvinfer.so.11 (libc6) => {tmp_path}/libnvinfer.so.11\\n"
    tools = {
        "ldconfig": f"printf ' {found}'",
        "pip": f'echo "$@" > {tmp_path}/asked',
        "python": f"echo {packages}",
    }
    for name, script in tools.items():
        tool = bin_folder / name
        tool.write_text(f"#!/bin/bash\n{script}\n")
        tool.chmod(0o755)
    environment = os.environ | {"PATH": f"{bin_folder}:{os.environ['PATH']}"}
    command = [DEPLOY / "install-tensorrt-bindings", tmp_path / "venv"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert "--no-deps tensorrt-cu13-bindings==11.1.0.*" in (tmp_path / "asked").read_text()
    assert "from tensorrt_bindings import *" in (packages / "tensorrt.py").read_text()


MANIFESTS = {
    path.stem: list(yaml.safe_load_all(path.read_text()))
    for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
}


def manifest(name: str) -> Any:
    (found,) = MANIFESTS[name]
    return found


def test_the_kustomization_lists_every_manifest_and_the_image_of_the_compose_file() -> None:
    kustomization = manifest("kustomization")
    others = {f"{name}.yaml" for name in MANIFESTS} - {"kustomization.yaml", "prometheus-adapter.yaml"}
    assert set(kustomization["resources"]) == others
    (release,) = {service["build"]["args"]["TRITON"] for service in SERVICES.values()}
    assert kustomization["images"] == [{"name": "tritone", "newTag": release}]


@pytest.mark.parametrize("name", ["deployment", "engines"])
def test_pods_run_without_root_and_with_read_only_file_systems(name: str) -> None:
    spec = manifest(name)["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"]
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"]
        assert not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["image"] == "tritone"


def test_what_the_hub_sends_can_be_written_and_engines_lie_in_a_volume_named_by_their_gpu() -> None:
    spec = manifest("engines")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    (cache,) = [each["value"] for each in container["env"] if each["name"] == "HF_HOME"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert {"name": mounts[cache], "emptyDir": {}} in spec["volumes"]
    claim = manifest("models")["metadata"]["name"]
    for name in ("engines", "deployment"):
        pod = manifest(name)["spec"]["template"]["spec"]
        assert claim == f"models-{pod['nodeSelector']['nvidia.com/gpu.product'].lower()}"
        assert claim in [
            volume["persistentVolumeClaim"]["claimName"]
            for volume in pod["volumes"]
            if "persistentVolumeClaim" in volume
        ]


def test_a_pod_terminates_later_than_the_grace_period_of_its_streams() -> None:
    spec = manifest("deployment")["spec"]["template"]["spec"]
    (triton,) = spec["containers"]
    (timeout,) = [int(a.partition("=")[2]) for a in triton["args"] if a.startswith("--exit-timeout-secs")]
    slept = int(triton["lifecycle"]["preStop"]["exec"]["command"][1])
    assert spec["terminationGracePeriodSeconds"] > timeout + slept


def test_the_autoscaler_uses_the_metric_that_the_adapter_provides() -> None:
    (metric,) = manifest("autoscaler")["spec"]["metrics"]
    (rule,) = manifest("prometheus-adapter")["rules"]["custom"]
    assert rule["name"]["as"] == metric["pods"]["metric"]["name"]
    config = (
        DEPLOY.parent / "model_repository" / "nanocodec_mini_decode_stream" / "config.pbtxt"
    ).read_text()
    (places,) = re.findall(r'key: "max_streams"\s+value \{\s+string_value: "(\d+)"', config)
    assert f"(21.5 * {places})" in rule["metricsQuery"]


def test_wrong_manifests_fail_validation(tmp_path: Path) -> None:
    wrong = manifest("disruption") | {"spec": {"maxUnavailble": 1}}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(wrong))
    done = subprocess.run(
        ["kubernetes-validate", "--strict", str(tmp_path / "wrong.yaml")],
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
