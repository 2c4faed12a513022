"""Two bundles that are reserved together, and tasks that run in them."""

import engine
from engine.util.placement_group import placement_group, remove_placement_group
from engine.util.scheduling_strategies import PlacementGroupSchedulingStrategy

engine.init(num_cpus=2)

group = placement_group([{"CPU": 1}, {"CPU": 1}], strategy="PACK")
engine.get(group.ready(), timeout=10)


@engine.remote(num_cpus=1)
def where() -> str:
    node = engine.get_runtime_context().get_node_id()
    assert node is not None
    return node


first = where.options(
    scheduling_strategy=PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=0)
)
second = where.options(placement_group=group, placement_group_bundle_index=1)
nodes = engine.get([first.remote(), second.remote()])
print("packed on", "one node" if len(set(nodes)) == 1 else "several nodes")

remove_placement_group(group)
