"""Which modules the receiver has, and which travel: pure-Python packages go as source, once per job, and are imported
from memory there.

Functions and classes of the standard library are named. Those of installed packages, and of what
`py_modules` lists, are named too, and bring a reference to their package's files. Those of other modules, as of
the program itself, travel by value.
"""

from __future__ import annotations

import ast
import functools
import importlib.abc
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
import types
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from engine._serialize import wheels

_WITH_RUNNER = {"engine", "cloudpickle"}
_BUNDLE_MAX = 64 << 20
_COMPILED = tuple(importlib.machinery.EXTENSION_SUFFIXES) + (".so", ".pyd", ".dylib")
_SKIPPED = {"__pycache__", "tests", "test"}

_listed: dict[str, Path] = {}
"""Packages that `py_modules`, `working_dir` and `pip` name, and where they are."""


def _top(module: str) -> str:
    return module.partition(".")[0]


def is_there(module: str) -> bool:
    """Whether the runner has it, as every Python has."""
    top = _top(module)
    return top != "__main__" and (top in sys.stdlib_module_names or top in _WITH_RUNNER)


def is_brought(module: str) -> bool:
    """Whether functions and classes of it are named, and its files brought along."""
    top = _top(module)
    if top == "__main__" or is_there(top):
        return False
    if top in _listed or top in _providers:
        return True
    place = _place(top)
    return place is not None and any(part in ("site-packages", "dist-packages") for part in place.parts)


def _place(top: str) -> Path | None:
    """The folder of a package or the file of a module, where it is on this machine."""
    if top in _listed:
        return _listed[top]
    loaded = sys.modules.get(top)
    spec = getattr(loaded, "__spec__", None)
    if spec is None:
        file = getattr(loaded, "__file__", None)
        if file:
            path = Path(file)
            return path.parent if path.name == "__init__.py" else path
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError, AttributeError):
            return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    if spec.origin and spec.origin not in ("built-in", "frozen"):
        return Path(spec.origin)
    return None


def list_modules(py_modules: Sequence[Any], working_dir: str | None, pip: Any) -> list[str]:
    """Takes note of what a `runtime_env` brings; gives the packages' names. Raises ValueError."""
    names: list[str] = []
    for one in py_modules:
        if isinstance(one, types.ModuleType):
            name = _top(one.__name__)
            place = _place(name)
        else:
            place = Path(one).resolve()
            name = place.stem
        if place is None or not place.exists():
            raise ValueError(f"py_modules: {one!r} is neither a module nor a path to one")
        names.append(_list(name, place))
    if working_dir is not None:
        folder = Path(working_dir).resolve()
        if not folder.is_dir():
            raise ValueError(f"working_dir: {working_dir!r} is no folder")
        for path in sorted(folder.iterdir()):
            if path.suffix == ".py" or (path / "__init__.py").exists():
                names.append(_list(path.stem, path))
    wanted = wheels.requirements(pip)
    found = {requirement: wheels.installed(requirement) for requirement in wanted}
    for requirement, distribution in found.items():
        if distribution is not None:
            for name, place in _of_distribution(requirement, distribution).items():
                names.append(_list(name, place))
    missing = tuple(requirement for requirement, distribution in found.items() if distribution is None)
    if missing:
        fetched = wheels.modules_in(wheels.fetched(missing))
        names.extend(_list(name, place) for name, place in sorted(fetched.items()))
    return names


def _list(name: str, place: Path) -> str:
    """Takes note of where a package is."""
    if is_there(name):
        return name
    shipped = _bundles.get(name)
    if shipped is not None and shipped.generation == _generation() and shipped.place != place:
        raise ValueError(
            f"the tasks of this session have {name} from {shipped.place} already, and one session has one version of a "
            f"package: begin another one (engine.shutdown()) for that in {place}"
        )
    if _listed.get(name) != place:
        has_compiled.cache_clear()
    _listed[name] = place
    return name


def _of_distribution(requirement: str, distribution: importlib.metadata.Distribution) -> dict[str, Path]:
    """The modules of an installed distribution, and where they are."""
    files = distribution.files or []
    if any(str(file).endswith(_COMPILED) for file in files):
        raise ValueError(
            f"pip: {requirement!r} has compiled parts, which do not exist for WebAssembly: use it on the client, and "
            "pass plain values to tasks"
        )
    tops = {file.parts[0] for file in files if file.suffix == ".py"}
    places = {top.removesuffix(".py"): Path(str(distribution.locate_file(top))) for top in sorted(tops)}
    return {name: place for name, place in places.items() if name.isidentifier()}


def bundle(top: str) -> dict[str, bytes]:
    """The files of a package and of the packages that it imports, by path. Raises `ImportError`."""
    files: dict[str, bytes] = {}
    tops, seen = [top], {top}
    size = 0
    while tops:
        name = tops.pop()
        place = _place(name)
        if place is None:
            continue
        if has_compiled(name):
            if name == top:
                raise ImportError(
                    f"{name} has compiled parts, which do not exist for WebAssembly: use it on the client, and pass "
                    "plain values to tasks",
                    name=name,
                )
            continue
        found = {**dict(_files(name, place)), **_metadata(name, place)}
        size += sum(map(len, found.values()))
        if size > _BUNDLE_MAX:
            raise ImportError(
                f"the files of {top} and of what it imports are larger than {_BUNDLE_MAX >> 20} MiB: pass data as "
                "objects",
                name=top,
            )
        files.update(found)
        for path, data in found.items():
            if path.endswith(".py"):
                for other in _imports(data):
                    if other not in seen and not is_there(other):
                        seen.add(other)
                        tops.append(other)
    return files


@functools.lru_cache(maxsize=1024)
def has_compiled(top: str) -> bool:
    """Whether a package has parts that are not Python."""
    if top in _providers:
        return False
    place = _place(top)
    if place is None:
        return False
    if place.is_file():
        return place.name.endswith(_COMPILED)
    return any(path.name.endswith(_COMPILED) for path in place.rglob("*"))


def _files(name: str, place: Path) -> Iterator[tuple[str, bytes]]:
    if place.is_file():
        yield (place.name if place.suffix != ".py" else f"{name}.py"), place.read_bytes()
        return
    for path in sorted(place.rglob("*")):
        relative = path.relative_to(place)
        if path.is_file() and not _SKIPPED & set(relative.parts) and path.suffix not in (".pyc", ".pyi"):
            yield f"{name}/{relative.as_posix()}", path.read_bytes()


def _metadata(name: str, place: Path) -> dict[str, bytes]:
    """What `importlib.metadata` tells of a package that was installed: many ask for their own version."""
    folder = place.parent
    info = _distributions(folder, folder.stat().st_mtime_ns).get(name)
    if info is None or not (info / "METADATA").is_file():
        return {}
    return {f"{info.name}/METADATA": (info / "METADATA").read_bytes()}


@functools.lru_cache(maxsize=64)
def _distributions(folder: Path, _changed: int) -> dict[str, Path]:
    """Where the distributions in this folder tell of themselves, by the modules that they have."""
    out: dict[str, Path] = {}
    for info in folder.glob("*.dist-info"):
        for file in importlib.metadata.PathDistribution(info).files or ():
            out[file.parts[0].removesuffix(".py")] = info
    return out


def _imports(data: bytes) -> Iterator[str]:
    try:
        tree = ast.parse(data)
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _top(alias.name)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield _top(node.module)


class Brought:
    """In a pickle: tells the receiver where a package's files are to be had."""

    def __init__(self, top: str) -> None:
        self.top = top

    def __reduce__(self) -> tuple[Any, ...]:
        from engine._serialize.values import write_handle

        return provide, (self.top, write_handle(_shipped(self.top)))


class With:
    """In a pickle: a value, and packages that it needs."""

    def __init__(self, value: Any, tops: Sequence[str]) -> None:
        self.value = value
        self.tops = tops

    def __reduce__(self) -> tuple[Any, ...]:
        return _second, ([Brought(top) for top in self.tops], self.value)


def _second(_: Any, value: Any) -> Any:
    return value


class _Bundle(NamedTuple):
    """A package's files as they were put."""

    generation: int
    place: Path | None
    handle: Any


_bundles: dict[str, _Bundle] = {}


def _generation() -> int:
    from engine import _session

    return _session.generation()


def _shipped(top: str) -> Any:
    """The handle of the package's files: put once per job, or as it came here."""
    from engine import _session
    from engine._serialize.values import encode

    if top in _providers:
        return _providers[top]
    known = _bundles.get(top)
    if known is None or known.generation != _session.generation():
        handle = _session.backend().put(encode(bundle(top)))
        known = _bundles[top] = _Bundle(_session.generation(), _place(top), handle)
    return known.handle


def imported_by(code: types.CodeType) -> list[Brought]:
    """Packages that a function imports inside itself, as far as they can be brought."""
    import dis

    tops: dict[str, None] = {}
    level = [code]
    while level:
        one = level.pop()
        level.extend(const for const in one.co_consts if isinstance(const, types.CodeType))
        for instruction in dis.get_instructions(one):
            if instruction.opname == "IMPORT_NAME":
                tops[_top(str(instruction.argval))] = None
    out = []
    for top in tops:
        if top and top != "__main__" and not is_there(top) and can_be_brought(top):
            out.append(Brought(top))
    return out


def can_be_brought(top: str) -> bool:
    """Whether its files are to be had here, and are Python."""
    if top in _providers:
        return True
    place = _place(top)
    return place is not None and place.exists() and not has_compiled(top)


def reduce_module(name: str) -> tuple[Any, ...]:
    """The reduction of a module that is brought along."""
    return _load, (name, Brought(_top(name)))


def reduce_member(module: str, qualname: str) -> tuple[Any, ...]:
    """The reduction of a function or a class of such a module."""
    return _member, (module, qualname, Brought(_top(module)))


def _load(name: str, _: Any) -> Any:
    return importlib.import_module(name)


def _member(module: str, qualname: str, _: Any) -> Any:
    value: Any = importlib.import_module(module)
    for part in qualname.split("."):
        value = getattr(value, part)
    return value


_providers: dict[str, Any] = {}
_loaded: dict[str, bytes] = {}
_opened: set[str] = set()


def provide(top: str, index: int) -> None:
    """The other side of `Brought`: from now on the package can be imported, unless it is here anyway."""
    from engine import _session
    from engine._serialize.values import read_handle

    if top in _providers or not _session.backend().is_sandbox:
        return
    _providers[top] = read_handle(index)
    _install()


def offer(files: dict[str, bytes]) -> None:
    """Files of modules that came with the program: they can be imported here, and go along with its functions."""
    from engine import _session
    from engine._serialize.values import encode

    handle = _session.backend().put(encode(files))
    _loaded.update(files)
    for top in {path.partition("/")[0].removesuffix(".py") for path in files}:
        _providers[top] = handle
        _opened.add(top)
    _install()


def _install() -> None:
    if not any(isinstance(finder, FromMemory) for finder in sys.meta_path):
        # Behind the standard library, before whoever explains what is missing.
        place = next(
            (i for i, one in enumerate(sys.meta_path) if getattr(one, "is_last", False)), len(sys.meta_path)
        )
        sys.meta_path.insert(place, FromMemory())


def _same(one: str, other: str) -> bool:
    """Whether two names are those of one distribution."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


class _Distribution(importlib.metadata.Distribution):
    """Of a package that was brought."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def read_text(self, filename: str) -> str | None:
        data = _loaded.get(f"{self._folder}/{filename}")
        return None if data is None else data.decode()

    def locate_file(self, path: Any) -> Any:
        return PurePosixPath("<brought>") / path


class FromMemory(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports packages whose files came in values."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        top = _top(fullname)
        if top in _providers and top not in _opened:
            from engine import _session
            from engine._serialize.values import decode

            [value] = _session.backend().get_many([_providers[top]], None)
            _loaded.update(decode(value))
            _opened.add(top)
        base = fullname.replace(".", "/")
        for file, is_package in ((f"{base}/__init__.py", True), (f"{base}.py", False)):
            if file in _loaded:
                spec = importlib.machinery.ModuleSpec(
                    fullname, self, origin=f"<brought>/{file}", is_package=is_package
                )
                spec.has_location = True
                return spec
        if any(file.startswith(base + "/") for file in _loaded):
            return importlib.machinery.ModuleSpec(fullname, None, is_package=True)
        return None

    def find_distributions(self, context: Any) -> Iterator[importlib.metadata.Distribution]:
        """What `importlib.metadata` asks for: of packages that were imported."""
        for path in list(_loaded):
            folder, _, name = path.rpartition("/")
            if name == "METADATA" and folder.endswith(".dist-info"):
                made = _Distribution(folder)
                if context.name is None or _same(made.metadata["Name"], context.name):
                    yield made

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None and spec.origin is not None
        import linecache

        data = _loaded[spec.origin.removeprefix("<brought>/")]
        text = importlib.util.decode_source(data)
        linecache.cache[spec.origin] = (len(text), None, text.splitlines(keepends=True), spec.origin)
        exec(compile(data, spec.origin, "exec", dont_inherit=True), module.__dict__)

    def get_source(self, fullname: str) -> str | None:
        spec = self.find_spec(fullname)
        if spec is None or spec.origin is None:
            return None
        return importlib.util.decode_source(_loaded[spec.origin.removeprefix("<brought>/")])

    def get_data(self, path: str) -> bytes:
        """A package's data, as `pkgutil.get_data` asks for it."""
        try:
            return _loaded[path.removeprefix("<brought>/")]
        except KeyError:
            raise FileNotFoundError(path) from None

    def is_package(self, fullname: str) -> bool:
        spec = self.find_spec(fullname)
        return spec is not None and spec.submodule_search_locations is not None
