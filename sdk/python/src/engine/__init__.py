"""Tasks, actors and objects, every one of them in a WebAssembly sandbox of its own.

    import engine

    @engine.remote
    def square(x):
        return x * x

    print(engine.get([square.remote(i) for i in range(4)]))
"""

from engine import array, cross_language, exceptions
from engine._actor import ActorClass, ActorHandle, ActorMethod, method
from engine._context import (
    RuntimeContext,
    available_resources,
    cluster_resources,
    get_runtime_context,
    nodes,
)
from engine._core import cancel, get, get_actor, kill, put, remote, wait
from engine._function import RemoteFunction
from engine._init import Session, init, is_initialized, shutdown
from engine._refs import ObjectRef, ObjectRefGenerator

__version__ = "0.1.0"

__all__ = [
    "ActorClass",
    "ActorHandle",
    "ActorMethod",
    "ObjectRef",
    "ObjectRefGenerator",
    "RemoteFunction",
    "RuntimeContext",
    "Session",
    "array",
    "available_resources",
    "cancel",
    "cluster_resources",
    "cross_language",
    "exceptions",
    "get",
    "get_actor",
    "get_runtime_context",
    "init",
    "is_initialized",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "wait",
]
