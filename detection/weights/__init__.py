"""Network weights: download of pretrained weights, archives, file formats and state dicts."""
