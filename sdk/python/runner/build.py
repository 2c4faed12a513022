"""Makes the Python runner: one component with CPython, its standard library and the engine's package.

    python sdk/python/runner/build.py --output python.wasm [--cache FOLDER]
    python sdk/python/runner/build.py --concurrent --output python-concurrent.wasm [--cache FOLDER]

The second form is for actors whose calls interleave: it is of the world `concurrent-component`.

Needs componentize-py 0.25 and cloudpickle in the environment of the Python that runs it, and no network. With
nothing changed since the last time it takes the component from the cache. `engine build app.py` makes components of
programs from it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "src" / "engine"
WIT = HERE.parents[2] / "wit" / "compute.wit"
COMPONENTIZE = "0.25."
# Not for guests: of clients, or what its import does is not wanted.
LEFT_OUT = {"_client.py", "_joblib.py", "_native.pyi", "cluster_utils.py"}
# Only for the second form.
CONCURRENT = {"_guest_concurrent.py"}
# Modules of the standard library whose import fails in WASI, or acts.
NO_IMPORT = {
    "antigravity",
    "this",
    "idlelib",
    "tkinter",
    "turtle",
    "turtledemo",
    "test",
    "lib2to3",
    "ensurepip",
    "venv",
    "pip",
    "__phello__",
    "__hello__",
    "ctypes",
    "curses",
    "dbm",
    "sqlite3",
    "ssl",
    "msilib",
    "winreg",
    "pty",
    "tty",
}


def sources(concurrent: bool) -> list[Path]:
    """The files of the package that go into the runner."""
    left_out = LEFT_OUT if concurrent else LEFT_OUT | CONCURRENT
    return sorted(path for path in PACKAGE.rglob("*.py") if path.name not in left_out)


def program(concurrent: bool) -> Path:
    """The file of the component's exports."""
    return HERE / ("program_concurrent.py" if concurrent else "program.py")


def digest(concurrent: bool) -> str:
    """Of everything that the component is made of."""
    state = hashlib.sha256()
    for path in [WIT, Path(__file__), program(concurrent), *sources(concurrent)]:
        state.update(f"{path.name}\0".encode())
        state.update(path.read_bytes())
    for name in ("componentize-py", "cloudpickle"):
        state.update(importlib.metadata.version(name).encode())
    return state.hexdigest()[:32]


def stdlib() -> str:
    """A module that imports the standard library: only what is imported while the component is made exists in it."""
    names = sorted(
        name for name in sys.stdlib_module_names if name.partition(".")[0] not in NO_IMPORT and name != "__main__"
    )
    return STDLIB.format(names=names, skipped=sorted(NO_IMPORT))


STDLIB = '''"""Imports the standard library."""
import importlib
import pkgutil
import sys
import warnings

warnings.simplefilter("ignore")
SKIPPED = set({skipped!r})


def every(names):
    for name in names:
        if any(part in SKIPPED for part in name.split(".")) or name.endswith("__main__"):
            continue
        try:
            module = importlib.import_module(name)
        except BaseException:
            continue
        if hasattr(module, "__path__"):
            every(f"{{name}}.{{one.name}}" for one in pkgutil.iter_modules(module.__path__))


every(sorted(set({names!r}) | set(sys.stdlib_module_names)))
warnings.resetwarnings()
'''


def build(output: Path, concurrent: bool, quiet: bool) -> None:
    """Runs componentize-py."""
    found = importlib.metadata.version("componentize-py")
    if not found.startswith(COMPONENTIZE):
        sys.exit(f"componentize-py {found} is installed, and {COMPONENTIZE}x is wanted: "
                 f"pip install 'componentize-py=={COMPONENTIZE}*'")
    import cloudpickle

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path in sources(concurrent):
            target = root / "engine" / path.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        shutil.copytree(
            Path(cloudpickle.__file__).parent, root / "cloudpickle", ignore=shutil.ignore_patterns("__pycache__")
        )
        (root / "standard_library.py").write_text(stdlib())
        imports = ["standard_library", *package_modules(concurrent)]
        exports = program(concurrent).read_text()
        (root / "program.py").write_text("".join(f"import {name}\n" for name in imports) + exports)
        command = [
            tool(),
            *(["--quiet"] if quiet else []),
            "--wit-path",
            str(WIT),
            "--world",
            "concurrent-component" if concurrent else "component",
            "componentize",
            "--python-path",
            str(root),
            "--output",
            str(output.absolute()),
            "program",
        ]
        # A virtual environment's own packages stay out of the component.
        environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
        done = subprocess.run(command, env=environment, cwd=folder, check=False)
        if done.returncode:
            sys.exit(f"componentize-py ended with status {done.returncode}")
    check_room(output.read_bytes())


def check_room(component: bytes) -> None:
    """Looks for the room that `engine build` puts a program into: in one place, and in one piece."""
    names = runpy.run_path(str(PACKAGE / "_guest_program.py"))
    pattern, size = names["PATTERN"], names["ROOM_BYTES"]
    begin = component.find(pattern * (size // len(pattern)))
    if begin < 0 or component.find(pattern * 4) != begin or component.find(pattern * 4, begin + size) >= 0:
        sys.exit("the component has no room for a program, or several: see _guest_program.py")


def package_modules(concurrent: bool) -> list[str]:
    """The package's modules, all of which the component must have."""
    parts = [("engine", *path.relative_to(PACKAGE).with_suffix("").parts) for path in sources(concurrent)]
    return sorted(".".join(one[:-1] if one[-1] == "__init__" else one) for one in parts)


def tool() -> str:
    """The command, beside the interpreter or on the path."""
    beside = Path(sys.executable).parent / "componentize-py"
    found = str(beside) if beside.exists() else shutil.which("componentize-py")
    if not found:
        sys.exit("componentize-py is not installed: pip install 'componentize-py==0.25.*' cloudpickle")
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="where the component is put")
    parser.add_argument("--cache", type=Path, help="a folder that keeps components by what they are made of")
    parser.add_argument("--concurrent", action="store_true", help="the form for actors whose calls interleave")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    options.output.parent.mkdir(parents=True, exist_ok=True)
    if options.cache is None:
        build(options.output, options.concurrent, options.quiet)
        return
    options.cache.mkdir(parents=True, exist_ok=True)
    form = "python-concurrent" if options.concurrent else "python"
    kept = options.cache / f"{form}-{digest(options.concurrent)}.wasm"
    if not kept.exists():
        partial = kept.with_suffix(f".{os.getpid()}.partial")
        build(partial, options.concurrent, options.quiet)
        partial.replace(kept)
    if options.output.exists() and options.output.samefile(kept):
        return
    options.output.unlink(missing_ok=True)
    try:
        os.link(kept, options.output)
    except OSError:
        shutil.copy(kept, options.output)


if __name__ == "__main__":
    main()
