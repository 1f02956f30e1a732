"""Run `make demo` and `make test` as an ordinary user on a minimal Debian, in place of a fresh machine.

debootstrap makes the root file system, with python3, python3-venv, make and git, and a clone of this
repository. Its mounts are visible to this command's own processes only and end with them. The file system is
removed at the end, also after an error. pip and apt download as they do on this machine.

The command needs the root user, debootstrap, and a kernel that allows mounts. Without one of these it prints
one line, runs nothing, and returns 0.

Examples:
  sudo python3 -m scripts.ci.minimal_debian --demo-only
  sudo python3 -m scripts.ci.minimal_debian --suite trixie
"""

import argparse
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from scripts.ci.host_settings import PipSettings, apt_settings, mirror_of
from scripts.common.cli import argument_parser

_REPOSITORY = Path(__file__).resolve().parents[2]
_ROOT = _REPOSITORY / ".cache" / "minimal_debian"
_PACKAGES = "python3,python3-venv,make,git"
_USER = "somebody"
_HOME = Path("home", _USER)
_NEEDED = ("apt-get", "debootstrap", "git", "unshare", "chroot")
_MAX_TRIES, _INTERRUPTED = 10, 130
_ISOLATED = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
"""Prefix of a command whose mounts and child processes end with it."""


def main() -> int:
    """Entry point; returns 0 on success or if nothing could be run, else the status of the failed command."""
    options = _options()
    if options.within:
        return _run_within(options)
    obstacle = _obstacle()
    if obstacle:
        print(f"minimal Debian: skipped, since {obstacle}", flush=True)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _ROOT.parent.mkdir(exist_ok=True)
    with _ROOT.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"minimal Debian: another run is using {_ROOT}; wait until it has ended", file=sys.stderr)
            return 1
        return _run_isolated()


def _run_isolated() -> int:
    """Run this command again in namespaces of its own, with the hidden option --within."""
    _remove(_ROOT)  # left by a run that was killed
    try:
        command = [*_ISOLATED, sys.executable, "-m", "scripts.ci.minimal_debian", *sys.argv[1:], "--within"]
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        _remove(_ROOT)


def _options() -> argparse.Namespace:
    parser = argument_parser("scripts.ci.minimal_debian", __doc__)
    parser.add_argument("--demo-only", action="store_true", help="run the demo but no tests")
    parser.add_argument("--suite", default="bookworm", help="release of Debian (default: %(default)s)")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _obstacle() -> str | None:
    """Why this machine cannot make the root file system; None if it can."""
    if os.geteuid() != 0:
        return "it needs the root user"
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    trial = [*_ISOLATED, "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(trial, check=False, capture_output=True).returncode:
        return "this machine allows no mounts"
    return None


def _remove(root: Path) -> None:
    """Remove the file system; retry while processes that were killed in it are still ending."""
    command = ["rm", "-rf", "--one-file-system", str(root)]
    for _ in range(_MAX_TRIES):
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return
        time.sleep(1)
    subprocess.run(command, check=True)


def _run_within(options: argparse.Namespace) -> int:
    settings = PipSettings.here()
    try:
        _timed("debootstrap", lambda: _bootstrap(_ROOT, options.suite))
        _carry_settings(_ROOT, settings)
        _mount(_ROOT, settings)
        _add_user_with_clone(_ROOT)
        for target in ("demo",) if options.demo_only else ("demo", "test"):
            _timed(f"make {target}", partial(_as_user, _ROOT, settings, ["make", target]))
    except subprocess.CalledProcessError as error:
        print(
            f"minimal Debian: {' '.join(map(str, error.cmd))} ended with {error.returncode}", file=sys.stderr
        )
        return error.returncode if error.returncode > 0 else 1
    return 0


def _timed(name: str, action: Callable[[], object]) -> None:
    started = time.monotonic()
    print(f"minimal Debian: {name} ...", flush=True)
    action()
    print(f"minimal Debian: {name} took {time.monotonic() - started:.0f} s", flush=True)


def _bootstrap(root: Path, suite: str) -> None:
    options = ["--variant=minbase", f"--include={_PACKAGES}"]
    mirror = mirror_of(suite)
    command = ["debootstrap", *options, suite, str(root), *([] if mirror is None else [mirror])]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()


def _carry_settings(root: Path, settings: PipSettings) -> None:
    (root / "etc/pip.conf").write_text(settings.text())
    (root / "etc/apt/apt.conf.d/90this-machine").write_text(apt_settings())
    for path in (*settings.files(), Path("/etc/resolv.conf"), Path("/etc/hosts")):
        inside = root / path.relative_to("/")
        inside.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, inside)


def _mount(root: Path, settings: PipSettings) -> None:
    for kind, name in (("proc", "proc"), ("sysfs", "sys"), ("tmpfs", "dev/shm")):
        (root / name).mkdir(parents=True, exist_ok=True)
        _run("mount", "-t", kind, "none", root / name)
    for folder in settings.folders():
        inside = root / folder.relative_to("/")
        inside.mkdir(parents=True, exist_ok=True)
        _run("mount", "--bind", "-o", "ro", folder, inside)


def _add_user_with_clone(root: Path) -> None:
    _run("chroot", root, "useradd", "--create-home", _USER)
    clone = root / _HOME / "tritone"
    _run("git", "clone", "--quiet", "--no-hardlinks", _REPOSITORY, clone)
    _run("chroot", root, "chown", "-R", f"{_USER}:{_USER}", Path("/", _HOME))


def _as_user(root: Path, settings: PipSettings, command: Sequence[str]) -> None:
    home = Path("/", _HOME)
    environment = {
        **settings.environment,
        "HOME": str(home),
        "USER": _USER,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
    }
    variables = [f"{name}={value}" for name, value in environment.items()]
    become = ["chroot", f"--userspec={_USER}:{_USER}", str(root)]
    _run(*become, "env", "-i", f"--chdir={home / 'tritone'}", *variables, *command)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
