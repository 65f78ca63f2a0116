"""SPP-net object detection (He, Zhang, Ren, Sun, 2014): convolve once, pool every window, score with SVMs."""

__version__ = "0.1.0"
