"""Code objects as source text: found where the function was written, compiled where it runs.

Bytecode of one version of Python crashes or misbehaves in another, and the sandbox has a version of its own.
"""

from __future__ import annotations

import __future__

import ast
import linecache
import os
import sys
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import Union

CodeSource = tuple[str, str, str, str, int, int, Union[str, None], tuple[str, ...], bool]
"""`(text, name, qualname, filename, line, column, enclosing class, free variables, future annotations)`."""

_Function = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda]
_LAMBDA = "<lambda>"
_ANNOTATIONS = __future__.annotations.compiler_flag


class SourceError(Exception):
    """A function cannot travel, because its source text is not to be had."""


@dataclass
class _Place:
    """A function in a parsed text."""

    node: _Function
    class_name: str | None


@dataclass
class _Text:
    """A text that functions came from: a file, a notebook cell, or one function that was sent here."""

    lines: list[str]
    places: dict[tuple[int, str], list[_Place]] = field(default_factory=dict)

    def index(self, tree: ast.AST, class_name: str | None = None) -> None:
        """Notes every function of the tree, at its own line and at that of each of its decorators."""
        for place in _functions(tree, class_name):
            node = place.node
            name = _LAMBDA if isinstance(node, ast.Lambda) else node.name
            decorators = [] if isinstance(node, ast.Lambda) else node.decorator_list
            for line in {node.lineno, *(decorator.lineno for decorator in decorators)}:
                self.places.setdefault((line, name), []).append(place)


_files: dict[str, _Text] = {}
_received: dict[str, list[_Text]] = {}
_pending: dict[str, list[CodeSource]] = {}
_sources: weakref.WeakKeyDictionary[CodeType, CodeSource] = weakref.WeakKeyDictionary()
_own: weakref.WeakKeyDictionary[CodeType, CodeType] = weakref.WeakKeyDictionary()
_compiled: dict[CodeSource, CodeType] = {}
_COMPILED_MAX = 4096


def source_of(code: CodeType) -> CodeSource:
    """The source of a code object, as `code_of` takes it. Looked up once per code object.

    Raises `SourceError`, which says what to do.
    """
    source = _sources.get(code)
    if source is None:
        source = _sources[code] = _find(code)
    return source


def code_of(source: CodeSource) -> CodeType:
    """Compiles what `source_of` found, in this version of Python."""
    code = _compiled.get(source)
    if code is None:
        code = _compile(source)
        if len(_compiled) >= _COMPILED_MAX:
            _compiled.clear()
        _compiled[source] = code
        _sources[code] = source
        _receive(source)
    return code


def plain_code(code: CodeType) -> CodeType:
    """The code as its source says it: without what a test runner or a coverage tool has put into it."""
    own = _own.get(code)
    if own is None:
        source = source_of(code)
        own = _compiled.get(source) or _compile(source)
        _own[code] = own
    return own


def forget() -> None:
    """Forgets every source that was found or received."""
    for known in (_files, _received, _pending, _sources, _own, _compiled):
        known.clear()


def _find(code: CodeType) -> CodeSource:
    filename, line, name = code.co_filename, code.co_firstlineno, code.co_name
    for text in _texts(filename):
        found = text.places.get((line, name), [])
        candidates = [_cut(text.lines, place, code) for place in found]
        if name == _LAMBDA and len(candidates) > 1:
            candidates = [one for one in candidates if _same(one, code)]
        for candidate in candidates:
            if _signature_fits(candidate, code):
                return candidate
    raise SourceError(_no_source(code))


def _no_source(code: CodeType) -> str:
    where = f"{code.co_name!r} ({code.co_filename}, line {code.co_firstlineno})"
    if linecache.getlines(code.co_filename):
        return (
            f"the source of {where} is not what was imported: the file has changed since, or what stands there is "
            "not this function. Import it again, or restart the interpreter"
        )
    return (
        f"there is no source text of {where}: functions travel to sandboxes as source. Define it in a file or a "
        "notebook cell; what `exec`, `eval` or the plain interactive prompt of Python before 3.13 made has none"
    )


def _texts(filename: str) -> Iterator[_Text]:
    if filename in _pending:
        yield from _received_texts(filename)
        return
    lines = linecache.getlines(filename)
    if not lines:
        return
    text = _files.get(filename)
    if text is None or text.lines != lines:
        text = _Text(lines)
        try:
            text.index(ast.parse("".join(lines)))
        except (SyntaxError, ValueError):
            text = _Text(lines)
        _files[filename] = text
    yield text


def _functions(node: ast.AST, class_name: str | None) -> Iterator[_Place]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield _Place(child, class_name)
        yield from _functions(child, child.name if isinstance(child, ast.ClassDef) else class_name)


def _cut(lines: list[str], place: _Place, code: CodeType) -> CodeSource:
    node = place.node
    first, last = node.lineno, node.end_lineno or node.lineno
    column = 0
    if isinstance(node, ast.Lambda):
        # Columns of the tree count bytes of UTF-8.
        piece = [line.encode() for line in lines[first - 1 : last]]
        piece[-1] = piece[-1][: node.end_col_offset]
        piece[0] = piece[0][node.col_offset :]
        column = len(lines[first - 1].encode()[: node.col_offset].decode())
        text = b"".join(piece).decode()
    else:
        text = "".join(lines[first - 1 : last])
    if not text.endswith("\n"):
        text += "\n"
    return (
        text,
        code.co_name,
        getattr(code, "co_qualname", code.co_name),
        code.co_filename,
        first,
        column,
        place.class_name,
        code.co_freevars,
        bool(code.co_flags & _ANNOTATIONS),
    )


def _signature_fits(source: CodeSource, code: CodeType) -> bool:
    try:
        found = _compile(source)
    except (SourceError, SyntaxError):
        return False
    arguments = code.co_argcount + code.co_kwonlyargcount
    return found.co_varnames[:arguments] == code.co_varnames[:arguments]


def _same(source: CodeSource, code: CodeType) -> bool:
    try:
        found = _compile(source)
    except (SourceError, SyntaxError):
        return False

    def facts(one: CodeType) -> tuple[object, ...]:
        consts = tuple(const for const in one.co_consts if not isinstance(const, CodeType))
        return one.co_code, consts, one.co_names, one.co_varnames, one.co_freevars

    return facts(found) == facts(code)


def _parse(source: CodeSource) -> ast.stmt:
    text, name, _, _, line, column, *_ = source
    if name == _LAMBDA:
        tree = ast.parse("(\n" + " " * column + text + ")")
        return ast.increment_lineno(tree, line - 2).body[0]
    if text[:1] in " \t":
        block = ast.increment_lineno(ast.parse("if 1:\n" + text), line - 2).body[0]
        assert isinstance(block, ast.If)
        return block.body[0]
    return ast.increment_lineno(ast.parse(text), line - 1).body[0]


def _compile(source: CodeSource) -> CodeType:
    _, name, qualname, filename, line, _, class_name, free, has_future = source
    # The free variables become those of a function around it, and names like `__x` are those of its class.
    around = [f"def {_AROUND}({', '.join(free)}):"] if free else []
    if class_name is not None:
        around.append(f"class {class_name}:")
    flags = _ANNOTATIONS if has_future else 0
    module: str | ast.Module | None = _as_text(source, around)
    if module is None:
        statement = _parse(source)
        for header in reversed(around):
            statement = _like(header + "\n pass", statement, line)
        module = ast.Module(body=[statement], type_ignores=[])
    compiled = compile(module, filename, "exec", flags=flags, dont_inherit=True)
    level = [compiled]
    wrappers = {_AROUND} if free else set()
    code: CodeType | None = None
    is_in_class = class_name is None
    while level and code is None:
        below = [const for one in level for const in one.co_consts if isinstance(const, CodeType)]
        for one in below:
            if one.co_name in wrappers:
                continue
            if not is_in_class and one.co_name == class_name:
                continue
            if one.co_name == name:
                code = one
                break
        if any(one.co_name == class_name for one in below):
            is_in_class = True
        level = below
    if code is None or code.co_freevars != free:
        raise SourceError(
            f"{qualname} ({filename}, line {line}) cannot be compiled apart from what is around it"
        )
    if sys.version_info >= (3, 11):
        code = code.replace(co_qualname=qualname)
    return code


_IS_SANDBOX = sys.platform == "wasi"
_AROUND = "__engine_around__"


def _as_text(source: CodeSource, around: list[str]) -> str | None:
    """The text to compile, with its lines where they were: quicker than by way of a tree. None where indentation
    does not allow for what has to be around it."""
    text, name, _, _, line, column, *_ = source
    if name == _LAMBDA:
        if len(around) > 1 or line < 2:
            return None
        return "\n" * (line - 2) + "".join(around) + "(\n" + " " * column + text + ")"
    indent = len(text) - len(text.lstrip(" "))
    if indent == 0 and text[:1] != "\t":
        return None if around else "\n" * (line - 1) + text
    headers = around or ["if 1:"]
    if text[:1] == "\t" or len(headers) > indent or len(headers) >= line:
        return None
    lines = [" " * depth + header + "\n" for depth, header in enumerate(headers)]
    return "\n" * (line - 1 - len(lines)) + "".join(lines) + text


def _like(template: str, statement: ast.stmt, line: int) -> ast.stmt:
    wrapper = ast.increment_lineno(ast.parse(template), line - 1).body[0]
    assert isinstance(wrapper, (ast.ClassDef, ast.FunctionDef))
    wrapper.body = [statement]
    return wrapper


def _receive(source: CodeSource) -> None:
    """Makes the text known to tracebacks, and to `source_of` for the functions inside it; read when it is asked for."""
    filename = source[3]
    known = linecache.cache.get(filename)
    if filename not in _pending and (known is not None or (not _IS_SANDBOX and os.path.exists(filename))):
        # The file itself is at hand here.
        return
    _pending.setdefault(filename, []).append(source)
    linecache.cache[filename] = (lambda *_: "".join(_received_lines(filename)),)


def _received_lines(filename: str) -> list[str]:
    """The lines that are known of a file, each where it was."""
    lines: list[str] = []
    for text, _, _, _, line, column, *_ in _pending.get(filename, ()):
        new = (" " * column + text).splitlines(keepends=True)
        lines.extend("\n" for _ in range(line - 1 + len(new) - len(lines)))
        lines[line - 1 : line - 1 + len(new)] = new
    return lines


def _received_texts(filename: str) -> Iterator[_Text]:
    sources = _pending.get(filename, [])
    texts = _received.setdefault(filename, [])
    for source in sources[len(texts) :]:
        known = _Text(_received_lines(filename))
        known.index(ast.Module(body=[_parse(source)], type_ignores=[]), source[6])
        texts.append(known)
    return iter(texts)
