"""The comparison with Ray: `cargo xtask bench python` runs it.

Runs both sides in turn, several rounds, beside wasmtime alone with the Python runner, and prints the medians as a
Markdown table. Each side has an interpreter with an environment of its own.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rows

HERE = Path(__file__).resolve().parent
SIDE_SECONDS_MAX = 300
"""One side of one round; the longest is Ray's, whose actors come up slowly."""
RAW_CALLS = 300
BUSY_MAX = 0.04
"""Of the processors' time: with less they are quiet."""
QUIET_SECONDS = 2
QUIET_SECONDS_MAX = 120
RAY_IDLE_ACTORS = 20
"""As many processes: more would take the machine's memory and minutes."""
ENGINE_IDLE_ACTORS = 100


@dataclass(frozen=True)
class Row:
    """A row that both sides have."""

    what: str
    key: str
    unit: str
    goal: float
    """How many times better than Ray; at 1, ahead at all."""

    @property
    def is_rate(self) -> bool:
        return self.unit == "/s"


ROWS = [
    Row("`get(square.remote(i))`, one at a time", "tasks_sync", "/s", 5),
    Row(f"`square.remote`, {rows.BATCH} in flight", "tasks_async", "/s", 5),
    Row("`get` of a small object", "gets", "/s", 1),
    Row("`put` of a small object", "puts", "/s", 1),
    Row("actor calls, one at a time", "actor_sync", "/s", 1),
    Row(f"actor calls, {rows.BATCH} in flight", "actor_async", "/s", 1),
    Row(f"start of {rows.ACTORS} actors, until each has answered", "actors_start", "s", 10),
    Row("memory per idle actor", "idle_actor", "MB", 10),
    Row("`init()` to the first result", "init", "s", 1),
    Row("`put` of a numpy array of 1 GiB", "array_put", "s", 1),
    Row("`get` of it", "array_get", "s", 1),
]
FRESH_GOAL = 0.6
"""Of wasmtime alone with the same runner, the same call, and as many threads."""


class Raw:
    """wasmtime alone with the Python runner, as a process that answers."""

    def __init__(self, program: Path, runner: Path, folder: Path, call: list[Path]) -> None:
        command = [program, "python-runner", runner, folder, "square", *call]
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        # It compiles the runner first.
        self.threads = self._answer()["threads"]

    def measure(self) -> dict[str, float]:
        assert self._process.stdin is not None
        wait_for_quiet()
        self._process.stdin.write(f"{RAW_CALLS}\n")
        self._process.stdin.flush()
        answer: dict[str, float] = self._answer()
        return answer

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"wasmtime alone ended with status {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def wait_for_quiet() -> None:
    """Until what ran before leaves the processors alone: Ray's processes go on ending after it has."""
    end = time.monotonic() + QUIET_SECONDS_MAX
    quiet = 0
    while quiet < QUIET_SECONDS:
        before = _ticks()
        time.sleep(1)
        busy, total = (now - then for now, then in zip(_ticks(), before, strict=True))
        quiet = quiet + 1 if busy <= BUSY_MAX * total else 0
        if time.monotonic() > end:
            sys.exit(f"something else runs on this machine: its processors are not quiet after {QUIET_SECONDS_MAX} s")


def _ticks() -> tuple[int, int]:
    """Of all processors since they began: busy ones, and all."""
    ticks = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def run_side(python: Path, side: str, *options: str) -> dict[str, Any]:
    """The figures of one side, once."""
    wait_for_quiet()
    command = [str(python), "-B", str(HERE / "side.py"), side, *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=SIDE_SECONDS_MAX, env=_environment(), check=False)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            figures: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
            print(f"{side}: {figures}", file=sys.stderr)
            return figures
    sys.exit(f"{side} gave no figures (status {done.returncode}):\n{done.stdout}{done.stderr}")


def _environment() -> dict[str, str]:
    # Nothing of the caller's is to come into a side, and Ray tells nobody of it.
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "RAY_", "ENGINE_"))}
    return {**kept, "RAY_USAGE_STATS_ENABLED": "0"}


def median(rounds: list[dict[str, Any]], key: str) -> float:
    """The middle one of the rounds'."""
    return float(statistics.median(one[key] for one in rounds))


def shown(value: float, unit: str) -> str:
    """A figure with its unit."""
    if unit == "/s":
        return f"{value:,.0f}/s".replace(",", " ")
    if unit == "MB":
        return f"{value / 1e6:.2f} MB"
    if value < 0.1:
        return f"{value * 1e3:.2f} ms"
    return f"{value:.2f} s"


def line_of(row: Row, rays: list[dict[str, Any]], engines: list[dict[str, Any]]) -> str:
    """The row as Markdown."""
    theirs, ours = median(rays, row.key), median(engines, row.key)
    ratio = ours / theirs if row.is_rate else theirs / ours
    text, bound = shown(theirs, row.unit), ""
    if row.key == "actors_start" and (up := median(rays, "actors_started")) < rows.ACTORS:
        text, bound = f"{up:.0f} up after {rows.ACTORS_SECONDS_MAX:.0f} s", "over "
    goal = "ahead" if row.goal == 1 else f"{row.goal:.0f} times"
    behind = "" if ratio >= row.goal else " (**behind**)"
    times = f"{ratio:.1f}" if ratio < 100 else f"{ratio:,.0f}".replace(",", " ")
    return f"| {row.what} | {text} | {shown(ours, row.unit)} | {bound}{times} times | {goal}{behind} |"


def lines_of_fresh(rays: list[dict[str, Any]], fresh: list[dict[str, Any]]) -> list[str]:
    """The rows with a fresh interpreter for every task."""
    lines = []
    for what, key in (("one at a time", "tasks_sync"), (f"{rows.BATCH} in flight", "tasks_async")):
        theirs, ours = median(rays, key), median(fresh, key)
        lines.append(
            f"| `isolation=\"task\"`: tasks, {what} | {shown(theirs, '/s')} | {shown(ours, '/s')} "
            f"| {ours / theirs:.2f} times | |"
        )
    share = statistics.median(one["tasks_async"] / one["calls_per_second"] for one in fresh)
    behind = "" if share >= FRESH_GOAL else " (**behind**)"
    raw, least = median(fresh, "calls_per_second"), median(fresh, "least_per_second")
    lines.append(
        f"| the same beside wasmtime alone: instantiate, the same call, drop | {shown(raw, '/s')} (wasmtime) "
        f"| {shown(median(fresh, 'tasks_async'), '/s')} | {share:.2f} times | {FRESH_GOAL} times{behind} |"
    )
    share = statistics.median(one["tasks_async"] / one["least_per_second"] for one in fresh)
    lines.append(
        f"| … and beside the least call of the runner (`int()`, no function sent) | {shown(least, '/s')} (wasmtime) "
        f"| | {share:.2f} times | |"
    )
    return lines


def versions(python: Path, *packages: str) -> str:
    """Of the interpreter and of these packages in its environment."""
    code = (
        "import importlib.metadata as m, platform, sys; "
        "print('CPython ' + platform.python_version(), *(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep=', ')"
    )
    done = subprocess.run([str(python), "-c", code, *packages], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def machine() -> str:
    """What it ran on."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")),
        platform.machine(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    cpus, kernel = len(os.sched_getaffinity(0)), platform.release().partition("-")[0]
    return f"{model}, {cpus} CPUs, {memory:.0f} GiB, Linux {kernel}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ray-python", type=Path, required=True, help="the interpreter of Ray's environment")
    parser.add_argument("--engine-python", type=Path, required=True, help="that of the engine's")
    parser.add_argument("--benches", type=Path, required=True, help="the program engine-benches")
    parser.add_argument("--runner", type=Path, required=True, help="the component with the interpreter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each row that is a rate")
    options = parser.parse_args()
    seconds = ["--seconds", str(options.seconds)]
    # Machine code of the runner is made once per machine; what is measured finds it.
    run_side(options.engine_python, "engine-fresh", "--seconds", "0.1")
    rays, engines, fresh = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        call = subprocess.run(
            [str(options.engine_python), "-B", str(HERE / "side.py"), "call", "--folder", folder],
            stdout=subprocess.PIPE, text=True, env=_environment(), check=True,
        )
        raw = Raw(options.benches, options.runner, Path(folder), [Path(name) for name in call.stdout.splitlines()])
    for _ in range(options.rounds):
        rays.append(run_side(options.ray_python, "ray", *seconds, "--idle-actors", str(RAY_IDLE_ACTORS)))
        engines.append(run_side(options.engine_python, "engine", *seconds, "--idle-actors", str(ENGINE_IDLE_ACTORS)))
        before = raw.measure()
        figures = run_side(options.engine_python, "engine-fresh", *seconds)
        # From both sides, as the machine's speed changes from second to second.
        after = raw.measure()
        fresh.append({**figures, **{key: (before[key] + after[key]) / 2 for key in before}})
    raw.close()
    print("| what | Ray | engine | engine to Ray | goal |")
    print("|---|---|---|---|---|")
    for row in ROWS:
        print(line_of(row, rays, engines))
    print("\n".join(lines_of_fresh(rays, fresh)))
    print()
    print(f"{datetime.date.today()}; {machine()}; medians of {options.rounds} rounds, the sides in turn.")
    print(f"Ray: {versions(options.ray_python, 'ray', 'numpy')}. "
          f"Engine: {versions(options.engine_python, 'engine-compute', 'numpy')}.")


if __name__ == "__main__":
    main()
