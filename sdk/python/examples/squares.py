"""Four squares, each made by a task, gathered with get."""

import engine

engine.init()


@engine.remote
def square(x: int) -> int:
    return x * x


futures = [square.remote(i) for i in range(4)]
print(engine.get(futures))
