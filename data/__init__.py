"""Annotated data sets: files on disk -> `ImageRecord`s, and back. Imports nothing else of the project."""
