"""Extract files from pinned PyPI wheels, without installing the packages or their dependencies."""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tritone_server.cache import CACHE
from tritone_server.direct import proxies_named

__all__ = ["Wheel", "WheelError"]


class WheelError(RuntimeError):
    """A wheel could not be downloaded, or its hash is not the pinned one."""


@dataclass(frozen=True)
class Wheel:
    """A wheel on PyPI and the path prefixes of the files to extract from it."""

    requirement: str
    sha256: str
    prefixes: Sequence[str]

    def unpacked(self, log: bool = True) -> Path:
        """The folder with the extracted files; the first call downloads the wheel.

        Args:
            log: whether to print a line before the download.

        Raises:
            WheelError: pip cannot download the wheel, or its hash differs from the pinned one.
        """
        target = CACHE / "wheels" / self.requirement.replace("==", "-")
        if target.exists():
            return target
        if log:
            print(f"downloading {self.requirement} from PyPI ...", flush=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            wheel = self._download(Path(scratch))
            files = Path(scratch, "files")
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.infolist():
                    if member.filename.startswith(tuple(self.prefixes)):
                        path = Path(archive.extract(member, files))
                        path.chmod(path.stat().st_mode | (member.external_attr >> 16 & 0o111))
            try:
                files.rename(target)
            except OSError:
                if not target.exists():  # otherwise another process has extracted it meanwhile
                    raise
        return target

    def _download(self, folder: Path) -> Path:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        fetched = subprocess.run(
            [*command, "--dest", str(folder), self.requirement], check=False, capture_output=True, text=True
        )
        if fetched.returncode:
            reason = fetched.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise WheelError(f"pip could not download {self.requirement}{proxies_named()}: {reason[0]}")
        (wheel,) = folder.glob("*.whl")
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != self.sha256:
            raise WheelError(f"{wheel.name} has SHA-256 {digest}, expected {self.sha256}")
        return wheel
