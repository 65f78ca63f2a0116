"""Readers of annotated data sets: files on disk -> `ImageRecord`s. Imports nothing else of the project."""
