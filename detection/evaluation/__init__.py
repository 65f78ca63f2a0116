"""Evaluation of detections: VOC and COCO average precision, error analysis, and their file formats."""
