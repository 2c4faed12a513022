"""`runtime_env={"pip": …}`: packages that are not installed here, from wheels in a folder in place of an index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wheel import wheel

import engine
from engine._serialize import modules, wheels


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that pip takes for its index, and an empty cache."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(wheels, "cache_dir", lambda: tmp_path / "cache")
    before = dict(modules._listed)
    wheels.fetched.cache_clear()
    yield folder
    wheels.fetched.cache_clear()
    modules._listed.clear()
    modules._listed.update(before)


def fill(shelf: Path) -> None:
    """A package in two versions, which needs another one, and asks for its own version."""
    for version, factor in (("1.2", 12), ("2.0", 20)):
        main = f"from importlib.metadata import version\nimport tariff_rates\n__version__ = version('Tariff')\n"
        main += f"def price(n): return tariff_rates.double(n) * {factor}\n"
        wheel(shelf, "tariff", version, {"tariff/__init__.py": main, "tariff/list.txt": "x"}, needs="tariff-rates>=1")
    wheel(shelf, "tariff_rates", "1.0", {"tariff_rates.py": "def double(n): return 2 * n\n"})
    wheel(shelf, "tariff_rates", "0.9", {"tariff_rates.py": "def double(n): return 0\n"})


def test_packages_are_fetched_once_with_what_they_need(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(shelf)
    assert set(modules.list_modules((), None, ["tariff==1.2"])) == {"tariff", "tariff_rates"}
    assert {path.parts[-1] for path in modules._listed["tariff"].iterdir()} == {"__init__.py", "list.txt"}
    files = modules.bundle("tariff")
    assert set(files) == {
        "tariff/__init__.py", "tariff/list.txt", "tariff_rates.py", "tariff-1.2.dist-info/METADATA",
        "tariff_rates-1.0.dist-info/METADATA",
    }
    # Another process finds it in the cache, where no wheel is any more.
    wheels.fetched.cache_clear()
    for file in shelf.iterdir():
        file.unlink()
    assert "tariff" in modules.list_modules((), None, {"packages": ["tariff==1.2"]})


def test_what_is_installed_is_taken_from_here_unless_another_version_is_pinned(shelf: Path) -> None:
    import cloudpickle
    import packaging

    assert modules.list_modules((), None, ["packaging"]) == ["packaging"]
    assert modules.list_modules((), None, [f"packaging == {packaging.__version__}"]) == ["packaging"]
    assert modules._listed["packaging"] == Path(packaging.__file__).parent
    wheel(shelf, "packaging", "0.0.1", {"packaging/__init__.py": "OLD = True\n"})
    assert modules.list_modules((), None, ["packaging==0.0.1"]) == ["packaging"]
    assert b"OLD" in modules.bundle("packaging")["packaging/__init__.py"]
    assert modules.list_modules((), None, [f"cloudpickle=={cloudpickle.__version__}"]) == ["cloudpickle"]


def test_a_requirements_file(shelf: Path, tmp_path: Path) -> None:
    fill(shelf)
    file = tmp_path / "requirements.txt"
    file.write_text("# what we need\ntariff==2.0  # the new one\n\n")
    assert "tariff" in modules.list_modules((), None, str(file))
    assert b"* 20" in modules.bundle("tariff")["tariff/__init__.py"]


def refused(pip: Any) -> str:
    with pytest.raises(engine.exceptions.InvalidArgumentError) as error:
        engine.remote(runtime_env={"pip": pip})(refused)
    return str(error.value)


def test_what_cannot_be_fetched_is_said(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(shelf, "swift", "3.1", {"swift.py": ""}, pure=False)
    wheel(shelf, "slow", "1.0", {"slow.py": "import swift\n"}, needs="swift")
    for name in ("swift", "slow"):
        said = refused([name])
        assert f"pip: {name} needs swift-3.1-cp" in said and "has compiled parts" in said
    assert "no pure-Python wheel for Python 3.14 of nowhere" in refused(["nowhere"])
    assert "No matching distribution found for nowhere" in refused(["nowhere"])
    assert "numpy' has compiled parts" in refused(["numpy"])
    assert "'--index-url=x' is no requirement" in refused(["--index-url=x"])
    assert "cannot be read" in refused(str(tmp_path / "none.txt"))

    # Port 9 of this machine: nobody listens there.
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert "the package index was not reached" in refused(["nowhere"])

    bare = subprocess.CompletedProcess([], 1, "", f"{sys.executable}: No module named pip")
    monkeypatch.setattr(wheels, "_pip", lambda *_: bare)
    assert "there is no pip to fetch it with" in refused(["nowhere"])


def test_tasks_and_actors_import_them(shelf: Path) -> None:
    fill(shelf)

    @engine.remote(runtime_env={"pip": ["tariff==2.0"]})
    def priced(n: int) -> Any:
        import tariff

        return tariff.price(n), tariff.__version__

    @engine.remote(runtime_env={"pip": ["tariff==2.0"]})
    class Shop:
        def priced(self, n: int) -> Any:
            import tariff

            return tariff.price(n)

    with engine.init(num_cpus=1):
        assert engine.get(priced.remote(3)) == (120, "2.0")
        assert engine.get(Shop.remote().priced.remote(1)) == 40
        with pytest.raises(engine.exceptions.InvalidArgumentError, match="one session has one version of a package"):
            engine.remote(runtime_env={"pip": ["tariff==1.2"]})(refused)


def test_those_of_a_whole_session(shelf: Path) -> None:
    fill(shelf)

    @engine.remote
    def priced(n: int) -> Any:
        import tariff

        return tariff.price(n)

    with engine.init(num_cpus=1, runtime_env={"pip": ["tariff==1.2"]}):
        assert engine.get(priced.remote(1)) == 24
