"""joblib's `Parallel` on the engine: each batch of calls is a task.

    import joblib
    from engine.util.joblib import register

    register()
    with joblib.parallel_config(backend="engine"):
        joblib.Parallel()(joblib.delayed(slow)(item) for item in items)
"""

from __future__ import annotations

__all__ = ["register", "register_ray"]


def register() -> None:
    """Makes `engine` a backend of joblib (1.3 and later). Repeating it does nothing."""
    _register("engine")


def register_ray() -> None:
    """As `register`, and the backend has Ray's name too: `parallel_config(backend="ray")`."""
    _register("engine")
    _register("ray")


def _register(name: str) -> None:
    try:
        import joblib
    except ImportError as error:
        raise ImportError(f"engine.util.joblib needs joblib 1.3 or later: pip install joblib ({error})") from None
    from engine.util._joblib import EngineBackend

    joblib.register_parallel_backend(name, EngineBackend)
