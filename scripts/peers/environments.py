"""Pinned packages for programs that need other versions than the ones installed here."""

import fcntl
import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tritone_server.cache import CACHE
from tritone_server.direct import proxies_named
from tritone_server.wheels import WheelError

__all__ = ["Environment"]


@dataclass(frozen=True)
class Environment:
    """Packages in a folder of the cache, without those that they depend on.

    A process that has the folder in PYTHONPATH imports these packages from it, and all other packages, for
    instance PyTorch, from the environment of this interpreter.

    Attributes:
        name: of the folder; hashes of the requirements and of the interpreter's version are appended.
        requirements: as pip reads them, each with its exact version.
    """

    name: str
    requirements: Sequence[str]

    def folder(self) -> Path:
        """The folder with the packages; the first call installs them, and other processes wait for it.

        Raises:
            WheelError: pip cannot install a package.
        """
        pinned = " ".join((*self.requirements, sys.implementation.cache_tag, sys.platform))
        target = CACHE / "environments" / f"{self.name}-{hashlib.sha256(pinned.encode()).hexdigest()[:12]}"
        if target.exists():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                self._install(target)
        return target

    def _install(self, target: Path) -> None:
        """Install into a folder that gets its name only when it is complete."""
        print(f"installing {self.requirements[0]} for {self.name} ...", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            packages = Path(scratch, "packages")
            made = subprocess.run(
                [*command, "--target", str(packages), *self.requirements],
                check=False,
                capture_output=True,
                text=True,
            )
            if made.returncode:
                reason = made.stderr.strip().splitlines()[-1:] or ["no reason given"]
                raise WheelError(
                    f"pip could not install the packages of {self.name}{proxies_named()}: {reason[0]}"
                )
            packages.rename(target)
