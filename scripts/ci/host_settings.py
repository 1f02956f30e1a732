"""What a fresh root needs of this machine to reach package index and archive as the machine does.

Everything is read from pip's and apt's own configuration.
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

_FOR_NETWORK = re.compile(r"PIP_.*|.*_proxy|SSL_CERT_FILE|REQUESTS_CA_BUNDLE", re.IGNORECASE)
_FOR_ARCHIVE = re.compile(r"Acquire::(Check-|https?::|ForceIPv|Retries)")


@dataclass(frozen=True)
class PipSettings:
    """How pip is configured here.

    Args:
        options: of its configuration files, as ``section.option``.
        environment: variables that pip and its connections obey.
    """

    options: Mapping[str, str]
    environment: Mapping[str, str]

    @classmethod
    def here(cls) -> "PipSettings":
        """Of this machine and user."""
        environment = {name: value for name, value in os.environ.items() if _FOR_NETWORK.fullmatch(name)}
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], check=False, capture_output=True, text=True
        )
        pairs = (line.partition("=") for line in listed.stdout.splitlines())
        options = {name: str(ast.literal_eval(value)) for name, _, value in pairs if name[:1] != ":"}
        return cls(options, environment)

    def text(self) -> str:
        """The options as a ``pip.conf``."""
        sections: dict[str, list[str]] = {}
        for name, value in self.options.items():
            section, _, option = name.partition(".")
            sections.setdefault(section, []).append(f"{option} = " + value.replace("\n", "\n    "))
        return "".join(f"[{name}]\n" + "\n".join(lines) + "\n" for name, lines in sections.items())

    def files(self) -> set[Path]:
        """Files on this disk that the settings name: certificates, constraints."""
        return {
            path for path in _paths([*self.options.values(), *self.environment.values()]) if path.is_file()
        }

    def folders(self) -> set[Path]:
        """Folders of packages on this disk that the settings name."""
        return {
            path for path in _paths([*self.options.values(), *self.environment.values()]) if path.is_dir()
        }


def _paths(values: Iterable[str]) -> Iterable[Path]:
    for word in (word for value in values for word in value.split()):
        if word.startswith("/"):
            yield Path(word)
        elif word.startswith("file:"):  # an index: its pages point to files that lie beside it
            yield Path(unquote(urlsplit(word).path)).parent


def apt_settings() -> str:
    """How apt is told here to reach archives: proxies, certificates, how old their lists may be."""
    told = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    return "".join(line for line in told.splitlines(keepends=True) if _FOR_ARCHIVE.match(line))


def mirror_of(suite: str) -> str | None:
    """The archive from which this machine takes packages of that release; None where it takes none."""
    # Its lists may not have been fetched yet; without them a release is named as in the sources.
    shown = [
        "apt-get",
        "indextargets",
        "--no-release-info",
        "--format",
        "$(REPO_URI)|$(COMPONENT)|$(RELEASE)",
    ]
    listed = subprocess.run(shown, check=True, capture_output=True, text=True).stdout.splitlines()
    return next((line.split("|")[0] for line in listed if line.split("|")[1:] == ["main", suite]), None)
