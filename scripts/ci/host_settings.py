"""Settings of this machine that a fresh root file system needs to download packages as the machine does.

Everything is read from the configuration of pip and apt.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["PipSettings", "apt_settings", "mirror_of"]

_NETWORK_VARIABLES = re.compile(r"PIP_.*|.*_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE", re.IGNORECASE)
_DOWNLOAD_OPTIONS = re.compile(r"Acquire::(Check-|https?::|ForceIPv|Retries)")


@dataclass(frozen=True)
class PipSettings:
    """Configuration of pip.

    Args:
        options: of its configuration files, by ``section.option``.
        environment: variables that pip and its network connections read.
    """

    options: Mapping[str, str]
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> "PipSettings":
        """The configuration on this machine, of this user."""
        environment = {
            name: value for name, value in os.environ.items() if _NETWORK_VARIABLES.fullmatch(name)
        }
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
        )
        pairs = (line.partition("=") for line in listed.stdout.splitlines())
        options = {name: str(ast.literal_eval(value)) for name, _, value in pairs if name[:1] != ":"}
        return cls(options, environment)

    def text(self) -> str:
        """The options in the format of ``pip.conf``."""
        sections: dict[str, list[str]] = {}
        for name, value in self.options.items():
            section, _, option = name.partition(".")
            sections.setdefault(section, []).append(f"{option} = " + value.replace("\n", "\n    "))
        return "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())

    def files(self) -> set[Path]:
        """Files on this machine that the settings name, such as certificates and constraints."""
        return {
            path for path in _paths([*self.options.values(), *self.environment.values()]) if path.is_file()
        }

    def folders(self) -> set[Path]:
        """Folders of packages on this machine that the settings name."""
        return {
            path for path in _paths([*self.options.values(), *self.environment.values()]) if path.is_dir()
        }


def _paths(values: Iterable[str]) -> Iterable[Path]:
    for word in (word for value in values for word in value.split()):
        if word.startswith("/"):
            yield Path(word)
        elif word.startswith("file:"):  # an index, whose pages link to files in the folder above it
            yield Path(unquote(urlsplit(word).path)).parent


def apt_settings() -> str:
    """This machine's apt options for downloads: proxies, certificates, and the age of package lists."""
    output = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    return "".join(line for line in output.splitlines(keepends=True) if _DOWNLOAD_OPTIONS.match(line))


def mirror_of(suite: str) -> str | None:
    """URL of the archive from which this machine installs a Debian release; None if there is none."""
    # Package lists may be missing; without their release information, names are those in the sources.
    command = [
        "apt-get",
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI)|$(COMPONENT)|$(RELEASE)",
    ]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return next((line.split("|")[0] for line in listed if line.split("|")[1:] == ["main", suite]), None)
