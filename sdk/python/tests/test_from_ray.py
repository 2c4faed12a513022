"""What programs for Ray use is there, under Ray's names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import engine
import engine.dag
import engine.util.multiprocessing
import engine.util.placement_group
import engine.util.queue
import engine.util.scheduling_strategies

PAGE = Path(__file__).parents[3] / "docs" / "from-ray.md"


def test_rays_names_are_there() -> None:
    for name in (
        "init shutdown is_initialized remote get put wait cancel kill get_actor method nodes cluster_resources "
        "available_resources get_runtime_context ObjectRef ObjectRefGenerator"
    ).split():
        assert hasattr(engine, name), name
    for name in (
        "RayError RayTaskError RayActorError RaySystemError TaskCancelledError GetTimeoutError ObjectLostError "
        "OwnerDiedError ObjectStoreFullError OutOfMemoryError WorkerCrashedError ActorDiedError ActorUnavailableError "
        "PendingCallsLimitExceeded TaskUnschedulableError ActorUnschedulableError ObjectFreedError NodeDiedError "
        "OutOfDiskError LocalRayletDiedError ObjectReconstructionFailedError TaskPlacementGroupRemoved "
        "ActorPlacementGroupRemoved CrossLanguageError"
    ).split():
        error = getattr(engine.exceptions, name)
        assert issubclass(error, engine.exceptions.EngineError), name


def test_every_code_of_the_contract_has_a_class() -> None:
    wit = (Path(__file__).parents[3] / "wit" / "compute.wit").read_text()
    body = re.search(r"enum error-code \{(.*?)\}", wit, re.S)
    assert body is not None
    codes = {one.strip().upper().replace("-", "_") for one in body[1].split(",") if one.strip()}
    assert codes == set(engine.exceptions._BY_CODE)


def test_rays_options_are_taken() -> None:
    from engine import _options

    task = dict.fromkeys(
        "num_cpus num_gpus resources memory num_returns max_retries retry_exceptions name scheduling_strategy runtime_env "
        "label_selector max_calls placement_group placement_group_bundle_index accelerator_type".split()
    )
    _options.checked(task, _options.TASK, "f")
    actor = dict.fromkeys(
        "num_cpus num_gpus resources memory name namespace get_if_exists lifetime max_restarts max_task_retries "
        "max_concurrency max_pending_calls scheduling_strategy runtime_env concurrency_groups".split()
    )
    _options.checked(actor, _options.ACTOR, "A")


def test_the_pages_program_runs(run: Any) -> None:
    program = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)[-1]
    assert run(program) == "[0, 1, 4, 9]\n"
