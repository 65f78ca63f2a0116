"""The stages of image classification over a run folder."""
