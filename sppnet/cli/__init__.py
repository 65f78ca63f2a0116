"""The command line: flags generated from settings, one module per command, one entry point."""

from __future__ import annotations

from sppnet.cli.app import main

__all__ = ["main"]
