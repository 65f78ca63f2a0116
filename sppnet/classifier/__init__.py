"""The stages of image classification over a run folder.

photos -> representations -> svms, or photos -> network_training; `training` runs either of them, `testing` measures the
result view by view.
"""
