"""Statistics of a million sales, by arrays that never enter a sandbox."""

import engine

engine.init()


@engine.remote(memory=256 << 20)
def sales(count: int) -> engine.array.Table:
    numbers = engine.array.arange(count)
    countries = engine.array.array(["NO", "SE", "DK"])
    return engine.array.Table({"country": countries[numbers % 3], "amount": numbers * 7919 % 1000})


@engine.remote(memory=256 << 20)
def totals(table: engine.array.Table) -> dict[str, list[object]]:
    large = table.filter(table["amount"] >= 500)
    by_country = large.group_by("country").agg(total=("amount", "sum"), count=("amount", "count"))
    return by_country.sort_by("country").to_pydict()


# The table itself travels as a reference: the client never sees its bytes.
print(engine.get(totals.remote(engine.get(sales.remote(1_000_000)))))
