"""10 000 items in batches of 100, by a model whose weights are put once."""

import math
import random

import engine

engine.init()

ITEMS, BATCH, FEATURES = 10_000, 100, 8


class Model:
    """Logistic regression, in plain Python."""

    def __init__(self, weights: list[float], bias: float) -> None:
        self.weights = weights
        self.bias = bias

    def predict(self, item: list[float]) -> float:
        score = self.bias + sum(w * x for w, x in zip(self.weights, item))
        return 1 / (1 + math.exp(-score))


@engine.remote
def infer(model: Model, batch: list[list[float]]) -> list[bool]:
    return [model.predict(item) > 0.5 for item in batch]


random.seed(7)
model = engine.put(Model([random.uniform(-1, 1) for _ in range(FEATURES)], 0.1))
items = [[random.gauss(0, 1) for _ in range(FEATURES)] for _ in range(ITEMS)]

batches = [items[at : at + BATCH] for at in range(0, ITEMS, BATCH)]
results = engine.get([infer.remote(model, batch) for batch in batches])
labels = [label for batch in results for label in batch]
print(f"{len(labels)} items in {len(batches)} batches, {sum(labels)} positive")
