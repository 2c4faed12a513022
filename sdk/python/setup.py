"""Has cargo make what the package holds beside Python: the native module and the component with the interpreter.

Everything else about the package is in `pyproject.toml`.
"""

import os
import shutil
import subprocess
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
# Set by `cargo xtask`, which has put both there.
PREBUILT = "ENGINE_PYTHON_PREBUILT"


class WithNativeModule(Distribution):
    """Names the wheel after the machine that it is for."""

    def has_ext_modules(self) -> bool:
        return True


class Build(build_py):
    """Makes them first. Quick when nothing has changed."""

    def run(self) -> None:
        if not os.environ.get(PREBUILT):
            if shutil.which("cargo") is None:
                raise SystemExit("there is no cargo: install Rust (rustup), which builds the engine inside the package")
            # What pip has set up for this build is not for the Pythons that cargo's tool runs.
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            subprocess.run(["cargo", "xtask", "python-package"], cwd=HERE.parents[1], env=environment, check=True)
        super().run()


setup(
    distclass=WithNativeModule,
    cmdclass={"build_py": Build},
    # The native module has the stable interface of CPython 3.10.
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
