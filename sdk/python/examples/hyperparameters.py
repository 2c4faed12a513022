"""A search over hyper-parameters: results are looked at in the order in which they come, by wait in a loop."""

import random

import engine

engine.init()

TRIALS = 16


def draw(numbers: random.Random) -> dict[str, float]:
    return {"learning_rate": 10 ** numbers.uniform(-4, 0), "momentum": numbers.uniform(0, 0.99)}


@engine.remote
def evaluate(parameters: dict[str, float], steps: int = 200) -> float:
    """Fits y = 3 x - 1 by gradient descent; gives the loss."""
    points = [(x / 10, 3 * x / 10 - 1) for x in range(-10, 10)]
    slope = offset = slope_speed = offset_speed = 0.0
    rate, momentum = parameters["learning_rate"], parameters["momentum"]
    for _ in range(steps):
        errors = [(slope * x + offset - y, x) for x, y in points]
        slope_speed = momentum * slope_speed - rate * 2 * sum(e * x for e, x in errors) / len(points)
        offset_speed = momentum * offset_speed - rate * 2 * sum(e for e, _ in errors) / len(points)
        slope, offset = slope + slope_speed, offset + offset_speed
    return sum((slope * x + offset - y) ** 2 for x, y in points) / len(points)


numbers = random.Random(3)
trials = {}
for _ in range(TRIALS):
    parameters = draw(numbers)
    trials[evaluate.remote(parameters)] = parameters

best, best_loss, seen = None, float("inf"), 0
waiting = list(trials)
while waiting:
    [done], waiting = engine.wait(waiting, num_returns=1)
    loss = engine.get(done)
    seen += 1
    if loss < best_loss:
        best, best_loss = trials[done], loss

assert best is not None
print(f"{seen} trials; the best has a learning rate of {best['learning_rate']:.3f}, loss {best_loss:.6f}")
