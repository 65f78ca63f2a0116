"""One module per command: SETTINGS, `run(settings)`, and perhaps `resolve(settings)`, which fills in open settings."""
