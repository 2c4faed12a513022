"""Tasks that ask for parts of a CPU, and for a resource that only some nodes have."""

import engine

engine.init(num_cpus=2, resources={"scanner": 1})


@engine.remote(num_cpus=0.5)
def half(x: int) -> int:
    return x // 2


@engine.remote(num_cpus=0.25, resources={"scanner": 0.5})
def scan(page: int) -> str:
    return f"page {page} is scanned"


print(engine.get([half.remote(i) for i in range(8)]))
if "scanner" in engine.cluster_resources():
    print(engine.get([scan.remote(page) for page in range(2)]))
    print(engine.get(half.options(num_cpus=1, resources={"scanner": 1}).remote(84)))
