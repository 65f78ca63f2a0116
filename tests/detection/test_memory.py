"""Long loops return free memory to the system."""

from detection import memory


def test_items_are_unchanged_and_memory_is_returned_regularly(monkeypatch):
    calls = []
    monkeypatch.setattr(memory, "_trim", lambda: calls.append(1))
    assert list(memory.kept_flat(range(2 * memory.EVERY + 1))) == list(range(2 * memory.EVERY + 1))
    assert len(calls) == 2
    memory.kept_flat([])
    monkeypatch.undo()
    memory._trim()  # does nothing where the C library is not glibc
