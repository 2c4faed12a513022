"""One side, once: runs the rows and prints their figures as one line of JSON, behind `RESULT `.

    python side.py ray | engine | engine-fresh [--seconds S] [--idle-actors N]
    python side.py call --folder FOLDER

The last writes the arguments of one task as they reach the Python runner, and prints the files.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import json
from pathlib import Path

import rows

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("side", choices=["ray", "engine", "engine-fresh", "call"])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each row that is a rate")
    parser.add_argument("--idle-actors", type=int, default=20, help="how many the memory is measured with")
    parser.add_argument("--folder", type=Path, help="where the arguments go")
    options = parser.parse_args()
    if options.side == "call":
        write_call(options.folder)
    else:
        measure(options.side, options.seconds, options.idle_actors)


def measure(side: str, seconds: float, idle_actors: int) -> None:
    """Runs the rows of the side."""
    # Daemons of the side stay among its descendants.
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ray = importlib.import_module("ray" if side == "ray" else "engine")
    figures = rows.first_result(ray)
    if side == "engine-fresh":
        figures |= rows.tasks(ray, seconds, isolation="task")
    else:
        figures |= rows.tasks(ray, seconds)
        figures |= rows.objects(ray, seconds)
        figures |= rows.actor_calls(ray, seconds)
        figures |= rows.large_array(ray)
        figures |= rows.idle_actors(ray, idle_actors)
        figures |= rows.start_actors(ray)
    print("RESULT", json.dumps(figures), flush=True)
    ray.shutdown()


def write_call(folder: Path) -> None:
    """What `square.remote(7)` sends to the runner."""
    import engine
    from engine._calls import pack
    from engine._serialize.values import encode

    square = rows.remote_square(engine)
    [packed] = pack((7,), {}, 1)
    assert isinstance(packed, tuple)
    for index, (_, data, handles) in enumerate([encode(square._function), packed]):
        assert not handles
        path = folder / f"argument-{index}"
        path.write_bytes(bytes(data))
        print(path)


if __name__ == "__main__":
    main()
