"""Options of tasks, actors and calls: Ray's spellings and ours, checked where they are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine import _backend as b
from engine.exceptions import InvalidArgumentError

MEMORY = 128 << 20
"""Bytes that a task or an actor may use when it does not say: an interpreter takes 33 MiB of them."""

_ALIASES = {
    "num_cpus": "cpus",
    "num_gpus": "gpus",
    "scheduling_strategy": "strategy",
    "retry_exceptions": "retry_on",
    "label_selector": "labels",
    "_generator_backpressure_num_objects": "unread_objects_max",
    "_labels": "labels",
}
_PLACEMENT = {
    "cpus",
    "gpus",
    "resources",
    "memory",
    "strategy",
    "labels",
    "priority",
    "placement_group",
    "placement_group_bundle_index",
    "placement_group_capture_child_tasks",
    "runtime_env",
    "env",
    "accelerator_type",
}
_CALL = {
    "name",
    "num_returns",
    "unread_objects_max",
    "max_retries",
    "retry_on",
    "deadline",
    "enable_task_events",
}
TASK = _PLACEMENT | _CALL | {"cpu_time", "isolation", "cache", "max_calls"}
ACTOR = _PLACEMENT | {
    "name",
    "namespace",
    "get_if_exists",
    "lifetime",
    "max_restarts",
    "max_task_retries",
    "max_concurrency",
    "concurrency_groups",
    "max_pending_calls",
    "enable_task_events",
    "allow_out_of_order_execution",
}
METHOD = _CALL | {"concurrency_group", "max_task_retries"}


def checked(options: Mapping[str, Any], known: set[str], what: str) -> dict[str, Any]:
    """The options by our names. Raises on unknown ones."""
    out: dict[str, Any] = {}
    for name, value in options.items():
        own = _ALIASES.get(name, name)
        if own not in known:
            import difflib

            names = sorted(known | {alias for alias, one in _ALIASES.items() if one in known and alias[0] != "_"})
            near = difflib.get_close_matches(name, names, 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(names)}"
            raise InvalidArgumentError(f"{what} has no option {name!r}{hint}")
        if own in out:
            raise InvalidArgumentError(f"{what} got {own!r} twice, under two names")
        out[own] = value
    return out


def quantity(amount: Any, what: str) -> int:
    """An amount in ten-thousandths, rounded down."""
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise InvalidArgumentError(f"{what} is a number, not {amount!r}")
    if not 0 <= amount < 1 << 40:
        raise InvalidArgumentError(f"{what} is {amount!r}, and must be between 0 and 2^40")
    return int(amount * b.QUANTITY + 1e-6)


_UNITS = {"": 1, "B": 1, "K": 1000, "M": 10**6, "G": 10**9, "KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30, "T": 10**12, "TI": 1 << 40}


def size(amount: Any, what: str) -> int:
    """Bytes: a number, or text such as `64MiB`."""
    if isinstance(amount, str):
        digits = amount.strip().rstrip("BbIiKkMmGgTt ")
        unit = amount.strip()[len(digits) :].strip().upper().removesuffix("B")
        try:
            return int(float(digits) * _UNITS[unit])
        except (ValueError, KeyError):
            raise InvalidArgumentError(f"{what} is {amount!r}: write bytes, or 64MiB, or 2GB") from None
    if isinstance(amount, bool) or not isinstance(amount, (int, float)) or amount < 0:
        raise InvalidArgumentError(f"{what} is a number of bytes, not {amount!r}")
    return int(amount)


def seconds(time: Any, what: str) -> float | None:
    """A time: seconds, or a timedelta."""
    if time is None:
        return None
    value = time.total_seconds() if hasattr(time, "total_seconds") else time
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InvalidArgumentError(f"{what} is a number of seconds, not {time!r}")
    return float(value)


def _whole(value: Any, least: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgumentError(f"{what} is a whole number from {least} up, not {value!r}")
    return value


def labels(selector: Any, hard: bool = True) -> tuple[b.LabelSelector, ...]:
    """Conditions on labels: `{"zone": "a", "gpu": "!in(x, y)"}`, or values of `engine.util`'s operators."""
    out: list[b.LabelSelector] = []
    for key, value in dict(selector or {}).items():
        if hasattr(value, "_selector"):
            operator, values = value._selector()
        else:
            operator, values = _label_text(str(value))
        out.append(b.LabelSelector(str(key), operator, tuple(values), hard))
    return tuple(out)


def _label_text(text: str) -> tuple[Any, list[str]]:
    negated = text.startswith("!")
    body = text[1:] if negated else text
    if body.startswith("in(") and body.endswith(")"):
        values = [one.strip() for one in body[3:-1].split(",")]
    else:
        values = [body]
    return ("not-in" if negated else "in"), values


def strategy(options: Mapping[str, Any]) -> b.Strategy:
    """How the node is chosen, in any of the spellings."""
    from engine.util import scheduling_strategies as known

    chosen = options.get("strategy")
    group = options.get("placement_group")
    if group is not None and group != "default":
        if chosen is not None:
            raise InvalidArgumentError("give placement_group, or a strategy, not both")
        index = options.get("placement_group_bundle_index", -1)
        capture = options.get("placement_group_capture_child_tasks")
        chosen = known.PlacementGroupSchedulingStrategy(group, index, capture)
    if chosen is None or chosen == "DEFAULT" or chosen == "default":
        return b.Strategy()
    if chosen == "SPREAD" or chosen == "spread":
        return b.Strategy("spread")
    if hasattr(chosen, "_strategy"):
        made: b.Strategy = chosen._strategy()
        return made
    raise InvalidArgumentError(
        f"the strategy is 'DEFAULT', 'SPREAD', or an object of engine.util.scheduling_strategies, not {chosen!r}"
    )


def placement(options: Mapping[str, Any]) -> b.Placement:
    """What the options ask of a node."""
    resources = options.get("resources") or {}
    if not isinstance(resources, Mapping):
        raise InvalidArgumentError(f"resources is a dict of amounts by name, not {resources!r}")
    for name in resources:
        if name in ("CPU", "GPU", "cpus", "gpus", "memory"):
            raise InvalidArgumentError(f"{name!r} has an option of its own: num_cpus, num_gpus, memory")
    amounts = [(str(name), quantity(amount, f"resource {name!r}")) for name, amount in resources.items()]
    if options.get("accelerator_type"):
        amounts.append((f"accelerator_type:{options['accelerator_type']}", 10))
    cpus, gpus, memory = options.get("cpus"), options.get("gpus"), options.get("memory")
    chosen = options.get("strategy")
    soft = getattr(chosen, "_labels", None)
    selector = options.get("labels") or {}
    if not isinstance(selector, Mapping):
        raise InvalidArgumentError(f"label_selector is a dict of conditions by label, not {selector!r}")
    selectors = labels(selector)
    return b.Placement(
        cpus=None if cpus is None else quantity(cpus, "num_cpus"),
        gpus=0 if gpus is None else quantity(gpus, "num_gpus"),
        resources=tuple(sorted(amounts)),
        memory=MEMORY if not memory else size(memory, "memory"),
        strategy=strategy(options),
        labels=selectors + (soft() if callable(soft) else ()),
        priority=options.get("priority") or 0,
    )


def environment(options: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Variables of the guest's environment: `env`, and the `env_vars` of a `runtime_env`."""
    out: dict[str, str] = {}
    runtime = options.get("runtime_env") or {}
    for name in runtime:
        if name not in ("env_vars", "py_modules", "pip", "working_dir", "packages"):
            raise InvalidArgumentError(
                f"runtime_env has no {name!r} here: there are env_vars, py_modules, working_dir and pip"
            )
    for source in (runtime.get("env_vars") or {}, options.get("env") or {}):
        out.update({str(name): str(value) for name, value in source.items()})
    return tuple(out.items())


def packages(options: Mapping[str, Any]) -> list[str]:
    """The packages that a `runtime_env` brings along."""
    from engine._serialize.modules import list_modules

    runtime = options.get("runtime_env") or {}
    brought = list(runtime.get("packages") or ())
    try:
        return brought + list_modules(
            runtime.get("py_modules") or (), runtime.get("working_dir"), runtime.get("pip") or ()
        )
    except ValueError as problem:
        raise InvalidArgumentError(f"runtime_env: {problem}") from None


def travelling(options: Mapping[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """Options as they go along with a remote function: its packages by name, since paths mean nothing elsewhere, and
    what brings them."""
    from engine._serialize.modules import Brought

    runtime = options.get("runtime_env")
    if not runtime:
        return dict(options), []
    names = packages(options)
    kept = {name: value for name, value in runtime.items() if name == "env_vars"}
    return {**options, "runtime_env": {**kept, "packages": names}}, [Brought(name) for name in names]


def returns(value: Any, default: int | None) -> int | None:
    """How many objects come back; None: a stream."""
    if value is None:
        return default
    if value in ("streaming", "dynamic"):
        return None
    return _whole(value, 0, "num_returns")


def _kinds(retry_on: Any) -> tuple[bool, tuple[str, ...]]:
    """Whether failures of the program are retried, and which kinds (none: all)."""
    if retry_on is None or retry_on is False:
        return False, ()
    if retry_on is True:
        return True, ()
    items: Sequence[Any] = [retry_on] if isinstance(retry_on, (str, type)) else list(retry_on)
    kinds: list[str] = []
    for one in items:
        if isinstance(one, str):
            kinds.append(one)
        elif isinstance(one, type) and issubclass(one, BaseException):
            if one is Exception or one is BaseException:
                return True, ()
            kinds.extend(_names(one))
        else:
            raise InvalidArgumentError(f"retry_exceptions holds exception classes or names, not {one!r}")
    return bool(kinds), tuple(dict.fromkeys(kinds))


def _names(cls: type) -> list[str]:
    """The class, and the classes that are known to be below it: kinds are compared by name."""
    names = [cls.__name__]
    below: type
    for below in cls.__subclasses__():
        names.extend(_names(below))
        if len(names) > 64:
            break
    return names[:64]


def retries(options: Mapping[str, Any], default: int) -> b.Retries:
    """How often, and after what."""
    limit = options.get("max_retries", options.get("max_task_retries"))
    limit = default if limit is None else _whole(limit, -1, "max_retries")
    does, kinds = _kinds(options.get("retry_on"))
    return b.Retries(limit, limit if does else 0, kinds)


def task(options: Mapping[str, Any], name: str, default_returns: int | None) -> b.TaskOptions:
    """Options of a task, checked."""
    isolation = options.get("isolation", "job")
    if isolation not in ("job", "task"):
        raise InvalidArgumentError(
            f"isolation is 'job' (warm interpreters) or 'task' (a fresh one per call), not {isolation!r}"
        )
    unread = options.get("unread_objects_max")
    return b.TaskOptions(
        name=options.get("name") or name,
        placement=placement(options),
        num_returns=returns(options.get("num_returns"), default_returns),
        unread_objects_max=None if not unread or unread < 0 else unread,
        retries=retries(options, 3),
        deadline=seconds(options.get("deadline"), "deadline"),
        cpu_time=seconds(options.get("cpu_time"), "cpu_time"),
        env=environment(options),
        reuse=isolation == "job" and not options.get("cache"),
        cache=bool(options.get("cache", False)),
    )


def call(options: Mapping[str, Any], default_returns: int | None) -> b.CallOptions:
    """Options of an actor call, checked."""
    unread = options.get("unread_objects_max")
    return b.CallOptions(
        name=options.get("name"),
        num_returns=returns(options.get("num_returns"), default_returns),
        unread_objects_max=None if not unread or unread < 0 else unread,
        retries=retries(options, 0),
        deadline=seconds(options.get("deadline"), "deadline"),
        concurrency_group=options.get("concurrency_group"),
    )


ASYNC_CONCURRENCY = 1000
"""`max_concurrency` of a class with async methods, as in Ray."""


def actor(options: Mapping[str, Any], is_async: bool = False) -> b.ActorOptions:
    """Options of an actor, checked."""
    lifetime = options.get("lifetime")
    if lifetime not in (None, "job", "non_detached", "detached"):
        raise InvalidArgumentError(f"lifetime is 'job' or 'detached', not {lifetime!r}")
    name = options.get("name")
    if options.get("get_if_exists") and not name:
        raise InvalidArgumentError("get_if_exists needs the actor's name")
    groups = options.get("concurrency_groups") or {}
    pending = options.get("max_pending_calls")
    return b.ActorOptions(
        name=name,
        namespace=options.get("namespace"),
        get_if_exists=bool(options.get("get_if_exists", False)),
        detached=lifetime == "detached",
        placement=placement(options),
        max_restarts=_whole(options.get("max_restarts", 0), -1, "max_restarts"),
        max_task_retries=_whole(options.get("max_task_retries", 0), -1, "max_task_retries"),
        max_concurrency=_whole(
            options.get("max_concurrency") or (ASYNC_CONCURRENCY if is_async else 1), 1, "max_concurrency"
        ),
        concurrency_groups=tuple(
            (str(group), _whole(limit, 1, f"concurrency_groups[{group!r}]")) for group, limit in dict(groups).items()
        ),
        max_pending_calls=None if pending is None or pending < 0 else pending,
        env=environment(options),
    )
