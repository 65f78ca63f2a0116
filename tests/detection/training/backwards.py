"""An engine whose results come in the reverse order, with items and results that travelled as with Ray."""

import pickle

from detection.engines.engine import WorkerLost, failed, settled


class Backwards:
    """Works on all items, then yields them, the last one first.

    Args:
        lost: place of an item whose workers end; None: there is none.
    """

    def __init__(self, lost=None):
        self.lost, self.items = lost, 0

    def map(self, make, items):
        work = _copy(make)()
        done = [(item, settled(lambda item=item: _copy(work(_copy(item))))) for item in items]
        if self.lost is not None:
            done[self.lost] = (done[self.lost][0], failed(WorkerLost("killed")))
        self.items += len(done)
        yield from reversed(done)


def _copy(value):
    """A value from another process; Ray's arrays cannot be written to."""
    arrays = []
    data = pickle.dumps(value, 5, buffer_callback=arrays.append)
    return pickle.loads(data, buffers=[bytes(array.raw()) for array in arrays])
