"""The two fully connected layers between a pooled window and its SVM features."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from detection.state import assign, read_state, write_state


class FcHead(nn.Module):
    """pool5 -> fc6 -> fc7, each followed by ReLU and, in training, dropout of one half (paper, section 4.1).

    Args:
        inputs: length of a pooled vector, 50 times the channels for the four levels.
        width: of fc6 and fc7.
    """

    def __init__(self, inputs: int, width: int = 4096) -> None:
        super().__init__()
        self.fc6 = nn.Linear(inputs, width)
        self.fc7 = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.5)

    def forward(self, pool5: torch.Tensor) -> torch.Tensor:
        """float32 (R, inputs) -> float32 (R, width), >= 0."""
        fc6 = self.dropout(self.fc6(pool5).relu())
        return self.dropout(self.fc7(fc6).relu())

    def save(self, path: Path) -> None:
        """Write the weights as safetensors, atomically.

        Raises:
            OSError: the file cannot be written.
        """
        write_state(path, self.state_dict())

    @classmethod
    def load(cls, path: Path) -> FcHead:
        """A head for inference from a file; its sizes are those of the tensors.

        Raises:
            ValueError: the file is damaged or holds something else.
            OSError: it cannot be read.
        """
        state = read_state(path)
        shape = state["fc6.weight"].shape if "fc6.weight" in state else torch.Size()
        if len(shape) != 2:
            raise ValueError(f"{path}: expected a head with an (width, inputs) fc6.weight, got {sorted(state)[:4]}")
        with torch.device("meta"):
            head = cls(inputs=shape[1], width=shape[0])
        assign(head, state, str(path))
        return head.eval()
