"""Small wheels, made without a network."""

from __future__ import annotations

import sysconfig
import sys
import zipfile
from pathlib import Path


def wheel(folder: Path, name: str, version: str, files: dict[str, str], *, needs: str = "", pure: bool = True) -> Path:
    """A wheel of these files; `needs` is a requirement. One that is not pure is of this machine and this Python."""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
    tag = "py3-none-any" if pure else f"{python}-{python}-{platform}"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    if needs:
        metadata += f"Requires-Dist: {needs}\n"
    kind = f"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: {str(pure).lower()}\nTag: {tag}\n"
    inside = {**files, f"{info}/METADATA": metadata, f"{info}/WHEEL": kind}
    record = "".join(f"{path},,\n" for path in [*inside, f"{info}/RECORD"])
    path = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**inside, f"{info}/RECORD": record}.items():
            archive.writestr(file, text)
    return path
