"""The remote code: its functions alone, and in sandboxes."""

import remote

import engine


def test_words() -> None:
    assert remote.words("A b, a!") == {"a": 2, "b": 1}


def test_tasks(session: None) -> None:
    counts = [remote.count.remote(text) for text in ("a b", "b c")]
    assert engine.get(remote.merge.remote(*counts)) == {"a": 1, "b": 2, "c": 1}
