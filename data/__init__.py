"""Readers: annotation files on disk to `ImageRecord`s. Imports nothing else of the project."""
