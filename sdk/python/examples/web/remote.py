"""What runs in sandboxes: the words of texts."""

from __future__ import annotations

import re
from collections import Counter

import engine

WORD = re.compile(r"\w+")


def words(text: str) -> Counter[str]:
    """How often each word is in a text."""
    return Counter(WORD.findall(text.lower()))


@engine.remote(num_cpus=0.5, deadline=60, max_retries=2)
def count(text: str) -> Counter[str]:
    return words(text)


@engine.remote(num_cpus=0.5, deadline=60)
def merge(*counts: Counter[str]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
