"""The codecs, networks and programs that the parts of the kit measure; made once, then reused."""

import copy
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from scripts.common.prepare import seeded_checkpoint
from scripts.gpu.points import CODECS, Settings
from tritone_build.checkpoints.checkpoint import open_checkpoint
from tritone_build.codecs import load_codec
from tritone_build.codecs.base import Codec
from tritone_build.engines.capacity import Capacity
from tritone_build.errors import CapacityError
from tritone_build.graphs.precision import in_fp16
from tritone_build.graphs.program import program_of, write_program
from tritone_build.graphs.role import Role
from tritone_build.graphs.roles import Target, roles
from tritone_build.repository.manifests import fingerprint
from tritone_build.repository.writing import Weights, is_current, write_repository
from tritone_runtime.executors.torch import TorchExecutor
from tritone_runtime.manifests import PROGRAM_FILE

__all__ = ["Models", "Network", "checkpoint_of"]

_FOLDER = Path("artifacts/gpu")
_LEAST_BYTES = 24 << 30
Network: TypeAlias = Callable[..., Sequence[Tensor]]


def checkpoint_of(name: str) -> str:
    """The codec's own weights if the package contains them, else random ones."""
    variant = CODECS[name]
    return variant.source if variant.comes_along else seeded_checkpoint(name, variant.config)


class Models:
    """Codecs and their programs on one device; programs stay in files for the next process."""

    def __init__(self, settings: Settings):
        self.settings, self.device = settings, torch.device(settings.device)
        self.queue = torch.cuda.Stream() if settings.device == "cuda" else None  # type: ignore[no-untyped-call]
        self._executors: dict[tuple[str, str, str, str], TorchExecutor] = {}
        self.log: list[str] = []
        """What the runtime has logged since the point began."""

    @cache  # noqa: B019 - one object for each process
    def codec(self, name: str) -> Codec:
        """A codec in FP32, on the CPU."""
        return load_codec(open_checkpoint(checkpoint_of(name)), name)

    @cache  # noqa: B019
    def role(self, name: str, model: str, weights: str, target: Target = "cuda") -> Role:
        """A model of a codec, on the CPU."""
        codec = self.codec(name)
        made = roles(in_fp16(codec) if weights == "fp16" else codec, target)
        return next(role for role in made if role.name == model)

    def eager(self, role: Role) -> Network:
        """A role's module on the device, as it was written: nothing is traced."""
        module = copy.deepcopy(role.module).to(self.device)

        def run(*inputs: Tensor) -> Sequence[Tensor]:
            with torch.device(self.device) if self.queue else nullcontext():
                outputs: Sequence[Tensor] = module(*inputs)
            return outputs

        return run

    def executor(self, name: str, model: str, weights: str, device: str | None = None) -> TorchExecutor:
        """A model's program as the runtime runs it, by default on the device that is measured."""
        key = name, model, weights, device or self.settings.device
        if key not in self._executors:
            path = self._program(name, model, weights)
            self._executors[key] = TorchExecutor(path, key[-1], self.log.append)
        return self._executors[key]

    def folded(self, role: Role) -> Network:
        """A role's program on the device, for roles that the runtime does not run."""
        program, _ = program_of(role)
        if self.queue:
            program = move_to_device_pass(program, self.settings.device)
        module: Network = program.module(check_guards=False)
        return module

    def _program(self, name: str, model: str, weights: str) -> Path:
        codec = self.codec(name)
        built = "-".join(value[:8] for value in fingerprint(codec.checkpoint_sha256).values())
        path = _FOLDER / f"programs-{built}" / f"{name}_{model}_{weights}" / "1" / PROGRAM_FILE
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_program(self.role(name, model, weights), path)
        return path

    def repository(self, name: str, target: Target, streams: int | None = None) -> Path:
        """A repository with all models of a codec, in FP16 for a GPU.

        Args:
            name: of the codec.
            target: the target to build for.
            streams: most live streams of a model.
        """
        folder, codec = _FOLDER / f"repository-{target}", self.codec(name)
        weights: Weights = "fp16" if target == "cuda" else "fp32"
        if not is_current(folder, codec, target, weights):
            capacity = self._capacity(codec, target, streams)
            write_repository(
                codec,
                folder,
                lambda model: print(f"building {model} ...", flush=True),
                target,
                weights,
                capacity,
                least_db=None,  # the part "precision" compares them, on the GPU
            )
        return folder

    def _capacity(self, codec: Codec, target: Target, streams: int | None) -> Capacity:
        """The memory of this GPU, and the streams wanted if they fit."""
        memory_bytes = torch.cuda.mem_get_info()[1] if self.queue else _LEAST_BYTES
        wanted = Capacity(memory_bytes, streams)
        try:
            wanted.streams(codec.name, roles(codec, target))
        except CapacityError:
            return Capacity(memory_bytes)
        return wanted

    def release(self) -> None:
        """Free what can be made again."""
        self._executors.clear()
        if self.queue:
            torch.cuda.empty_cache()
