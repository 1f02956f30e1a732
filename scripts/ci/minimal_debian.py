"""Run `make demo` and `make test` on a fresh machine: a minimal Debian, as an ordinary user.

The root is made by debootstrap, with python3, python3-venv, make and git, and holds a clone of this
repository. Mounts are seen by this command's own processes only and vanish with them; the root is removed
at the end, however it ends. pip and apt reach their servers as they do on this machine.

Making a root takes root, debootstrap, and a kernel that allows mounts; without these nothing is run, one
line says so, and the status is 0.

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

_REPOSITORY = Path(__file__).resolve().parents[2]
_ROOT = _REPOSITORY / ".cache" / "minimal_debian"
_PACKAGES = "python3,python3-venv,make,git"
_USER = "somebody"
_HOME = Path("home", _USER)
_NEEDED = ("apt-get", "debootstrap", "git", "unshare", "chroot")
_MOST_TRIES, _INTERRUPTED = 10, 130
_APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
"""Runs a command whose mounts and processes end with it."""


def main() -> int:
    """Entry point; 0 when all went well or nothing could be run, else the status of what failed."""
    options = _options()
    if options.within:
        return _run_within(options)
    hindrance = _hindrance()
    if hindrance:
        print(f"minimal Debian: skipped, since {hindrance}", flush=True)
        return 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _ROOT.parent.mkdir(exist_ok=True)
    with _ROOT.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"minimal Debian: another run is under way in {_ROOT}", file=sys.stderr)
            return 1
        return _run_apart()


def _run_apart() -> int:
    """Run this command again where its mounts and processes end with it."""
    _remove(_ROOT)  # of a run that was killed
    try:
        command = [*_APART, sys.executable, "-m", "scripts.ci.minimal_debian", *sys.argv[1:], "--within"]
        return subprocess.run(command, check=False).returncode
    except KeyboardInterrupt:
        return _INTERRUPTED
    finally:
        _remove(_ROOT)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--demo-only", action="store_true", help="run no tests")
    parser.add_argument("--suite", default="bookworm", help="release of Debian (%(default)s)")
    parser.add_argument("--within", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _hindrance() -> str | None:
    """Why no root can be made on this machine."""
    if os.geteuid() != 0:
        return "it takes root"
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    tried = [*_APART, "mount", "-t", "tmpfs", "none", "/mnt"]
    if subprocess.run(tried, check=False, capture_output=True).returncode:
        return "this machine allows no mounts"
    return None


def _remove(root: Path) -> None:
    """Once more where processes that were killed in it have not quite ended."""
    command = ["rm", "-rf", "--one-file-system", str(root)]
    for _ in range(_MOST_TRIES):
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


def _timed(what: str, action: Callable[[], object]) -> None:
    begun = time.monotonic()
    print(f"minimal Debian: {what} ...", flush=True)
    action()
    print(f"minimal Debian: {what} took {time.monotonic() - begun:.0f} s", flush=True)


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
