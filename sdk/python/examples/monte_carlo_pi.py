"""Pi by random points, with an actor that knows how far the tasks are."""

import random
import time

import engine

engine.init()

TASKS, SAMPLES = 8, 20_000


@engine.remote(num_cpus=0)
class ProgressActor:
    def __init__(self, total: int) -> None:
        self.total = total
        self.done: dict[int, int] = {}

    def report(self, task: int, samples: int) -> None:
        self.done[task] = samples

    def progress(self) -> float:
        return sum(self.done.values()) / self.total


@engine.remote
def sample(task: int, count: int, progress: engine.ActorHandle) -> int:
    numbers = random.Random(task)
    inside = 0
    for i in range(1, count + 1):
        x, y = numbers.uniform(-1, 1), numbers.uniform(-1, 1)
        inside += x * x + y * y <= 1
        if i % 5_000 == 0:
            progress.report.remote(task, i)
    return inside


progress = ProgressActor.remote(TASKS * SAMPLES)
results = [sample.remote(task, SAMPLES, progress) for task in range(TASKS)]

while True:
    part = engine.get(progress.progress.remote())
    print(f"progress: {int(part * 100)}%")
    if part == 1:
        break
    time.sleep(0.05)

pi = 4 * sum(engine.get(results)) / (TASKS * SAMPLES)
print(f"pi is about {pi:.2f}")
