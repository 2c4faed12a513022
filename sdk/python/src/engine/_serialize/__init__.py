"""How Python values travel: a pickle in which functions and classes are source text, never bytecode."""

from engine._serialize.source import SourceError
from engine._serialize.values import Unpicklable, decode, encode

__all__ = ["SourceError", "Unpicklable", "decode", "encode"]
