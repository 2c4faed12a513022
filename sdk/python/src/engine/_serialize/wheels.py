"""Pure-Python packages of a `runtime_env` that are not installed on the client: pip fetches their wheels into the
cache folder, for the sandbox's Python, with what they depend on.

pip's own settings hold (`PIP_INDEX_URL`, `PIP_FIND_LINKS`, …). Of the conditions of a dependency (`; python_version
< "3.12"`) pip looks at the client's Python.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SANDBOX_PYTHON = "3.14"
_PURE = ("--platform", "any", "--implementation", "py", "--abi", "none", "--python-version", SANDBOX_PYTHON)
_PLAIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:==\s*([A-Za-z0-9.!+_-]+))?")
_NO_NETWORK = ("Failed to establish", "connection broken", "Connection refused", "NameResolution", "timed out")
_SAID_MAX = 1000
"""Characters of what pip said that go into an error."""


def requirements(pip: Any) -> list[str]:
    """The requirements of `runtime_env={"pip": …}`: a list, `{"packages": […]}`, or the path of a requirements
    file."""
    if isinstance(pip, dict):
        pip = pip.get("packages", ())
    if isinstance(pip, (str, os.PathLike)):
        try:
            lines = Path(pip).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ValueError(f"pip: the requirements file {os.fspath(pip)!r} cannot be read: {error}") from None
        pip = [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines) if line]
    wanted = [str(one).strip() for one in pip]
    for one in wanted:
        if not one or one.startswith("-"):
            raise ValueError(
                f"pip: {one!r} is no requirement: write 'name==1.2'. Options of pip are given by its variables "
                "(PIP_INDEX_URL, PIP_FIND_LINKS)"
            )
    return wanted


def installed(requirement: str) -> importlib.metadata.Distribution | None:
    """The distribution on this machine that is meant: of that name, and of that version if one is pinned."""
    match = _PLAIN.fullmatch(requirement)
    if match is None:
        return None
    name, version = match.groups()
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if version in (None, found.version) else None


@functools.lru_cache(maxsize=64)
def fetched(wanted: tuple[str, ...]) -> Path:
    """A folder with these packages and their dependencies, as pip unpacks them; from the cache if it is there. Raises
    ValueError with the reason."""
    if sys.platform == "wasi":
        raise ValueError(
            f"pip: {', '.join(wanted)}: packages are fetched by clients, and this is a sandbox: run the program as a "
            "client (`python app.py`), or put the package's folder beside it"
        )
    settings = sorted(item for item in os.environ.items() if item[0].startswith("PIP_"))
    what = json.dumps([SANDBOX_PYTHON, sorted(wanted), settings])
    place = cache_dir() / "python-packages" / hashlib.sha256(what.encode()).hexdigest()[:32]
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    print(f"fetching {', '.join(wanted)} for sandboxes (once)", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix="partial-") as folder:
        partial = Path(folder) / "packages"
        done = _pip("install", "--no-compile", "--target", str(partial), *_PURE, *wanted)
        if done.returncode:
            raise ValueError(_reason(wanted, done.stderr))
        partial.mkdir(exist_ok=True)
        # What programs of packages would start is of no use there.
        shutil.rmtree(partial / "bin", ignore_errors=True)
        try:
            partial.rename(place)
        except OSError:
            if not place.is_dir():
                raise
    return place


def modules_in(folder: Path) -> dict[str, Path]:
    """The modules of such a folder, by name."""
    files = {path.stem: path for path in folder.glob("*.py")}
    packages = {path.name: path for path in folder.iterdir() if path.is_dir() and path.name.isidentifier()}
    return {**files, **{name: path for name, path in packages.items() if any(path.rglob("*.py"))}}


def cache_dir() -> Path:
    """Where the engine keeps what takes long to make."""
    if named := os.environ.get("ENGINE_CACHE_DIR"):
        return Path(named).absolute()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).absolute() / "engine"
    return Path.home() / ".cache" / "engine"


def _pip(verb: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", verb, "--quiet", "--no-input", "--disable-pip-version-check"]
    return subprocess.run(
        [*command, "--only-binary=:all:", *arguments], capture_output=True, text=True, check=False
    )


def _reason(wanted: Sequence[str], said: str) -> str:
    """Why pip did not find them, and what to do."""
    names = ", ".join(wanted)
    if "No module named pip" in said:
        return (
            f"pip: {names} is not installed here, and there is no pip to fetch it with: `python -m ensurepip`, or "
            "install it"
        )
    if any(sign in said for sign in _NO_NETWORK):
        return (
            f"pip: {names} is not installed here, and the package index was not reached: install it where there is a "
            f"network, or name a folder of wheels by PIP_FIND_LINKS, with PIP_NO_INDEX=1. pip said: {_end(said)}"
        )
    compiled = _compiled(wanted)
    if compiled:
        return (
            f"pip: {names} needs {', '.join(compiled)}, which has compiled parts, and these do not exist for "
            "WebAssembly: use it on the client, and pass plain values to tasks"
        )
    return (
        f"pip: there is no pure-Python wheel for Python {SANDBOX_PYTHON} of {names} or of what it needs. Of a package "
        "that has only sources, `pip wheel NAME` makes one, for a folder that PIP_FIND_LINKS names. pip said: "
        f"{_end(said)}"
    )


def _compiled(wanted: Sequence[str]) -> list[str]:
    """The wheels with compiled parts among those that this machine would install."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = _pip("install", "--dry-run", "--ignore-installed", "--report", str(report), *wanted)
        if done.returncode:
            return []
        items = json.loads(report.read_text(encoding="utf-8")).get("install", [])
    files = [str(item["download_info"]["url"]).rpartition("/")[2] for item in items]
    return [file for file in files if file.endswith(".whl") and not file.endswith("-none-any.whl")]


def _end(said: str) -> str:
    return said.strip()[-_SAID_MAX:]
