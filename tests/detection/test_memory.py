"""Long loops give free memory back."""

from detection import memory


def test_items_come_unchanged_and_memory_goes_back_now_and_then(monkeypatch):
    calls = []
    monkeypatch.setattr(memory, "_trim", lambda: calls.append(1))
    assert list(memory.kept_flat(range(2 * memory.EVERY + 1))) == list(range(2 * memory.EVERY + 1))
    assert len(calls) == 2
    memory.kept_flat([])
    monkeypatch.undo()
    memory._trim()  # the real one is there, or is not needed
