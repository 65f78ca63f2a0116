"""Pretrained weights: downloading, file formats, archives, hashes."""
