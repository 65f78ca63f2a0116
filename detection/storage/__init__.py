"""Folders at a URL, such as s3://bucket/run, worked on through a copy on this machine."""
