"""Engines: the same work on many images in this process, in processes of this machine, or on a Ray cluster."""
