"""Image classification over a run folder: labelled photos in, a tested classifier out."""
