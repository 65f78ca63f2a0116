"""Networks: backbones by name, fully connected layers, layer geometry and precision."""
