"""Show versions, hardware and bundled detectors: what a bug report should contain."""

from __future__ import annotations

from typing import Any

from sppnet.settings.base import Settings

SETTINGS = Settings


def run(settings: Settings) -> dict[str, Any]:
    """Return what is printed, by name."""
    from sppnet import environment

    facts = environment.report()
    for name, value in facts.items():
        print(f"{name:{max(map(len, facts))}}  {value}")
    return dict(facts)
