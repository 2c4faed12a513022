"""An actor keeps its state between calls."""

import engine

engine.init()


@engine.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def increment(self) -> int:
        self.value += 1
        return self.value

    def get_counter(self) -> int:
        return self.value


counter = Counter.remote()
print(engine.get(counter.increment.remote()))
print(engine.get(counter.increment.remote()))
assert engine.get(counter.get_counter.remote()) == 2
