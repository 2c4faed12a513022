"""The program that a component was built of.

The runner keeps room for one. `engine build app.py` copies the runner and writes the program over the room, which
it finds by the pattern there; nothing of this file runs then. What it writes: the length of what follows (u32,
little end first), and zlib-compressed JSON: `{"name": …, "source": …, "modules": {path: source}}`.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass

PATTERN = bytes.fromhex("f2a97c1de5803b96d4410fbe6833c75a")
"""What the room is filled with, again and again, as long as there is no program. `engine build` knows it too."""
ROOM_BYTES = 512 << 10
_LENGTH_BYTES = 4


@dataclass(frozen=True)
class Program:
    """A file, and the files of the modules beside it, by their paths there."""

    name: str
    source: str
    modules: dict[str, bytes]


_room = bytearray()
_program: Program | None = None


def make_room() -> None:
    """Once, while the runner is made."""
    _room[:] = PATTERN
    # In place: no second copy of the pattern may be left in memory.
    _room.__imul__(ROOM_BYTES // len(PATTERN))


def built_in() -> Program | None:
    """The program; None in the runner itself."""
    global _program
    if _program is None and _room and not _room.startswith(PATTERN):
        length = int.from_bytes(_room[:_LENGTH_BYTES], "little")
        text = zlib.decompress(memoryview(_room)[_LENGTH_BYTES : _LENGTH_BYTES + length])
        fields = json.loads(text)
        modules = {path: source.encode() for path, source in fields["modules"].items()}
        _program = Program(fields["name"], fields["source"], modules)
    return _program
