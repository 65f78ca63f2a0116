"""A training that is interrupted where a test wants it."""

from detection.training import mining


def interrupt_after(saves, monkeypatch):
    """Let Ctrl-C come in place of the checkpoint after so many."""
    saved, save = [], mining.Miner.save

    def interrupt(miner, *args):
        if len(saved) == saves:
            raise KeyboardInterrupt
        saved.append(miner)
        save(miner, *args)

    monkeypatch.setattr(mining.Miner, "save", interrupt)
