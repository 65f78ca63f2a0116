"""Scoring of detections: Pascal VOC's rules, COCO's, and the files both are exchanged in."""
