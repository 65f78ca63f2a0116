"""The commands. Each file is a script and, once installed, `detection.tools.<name>`."""
