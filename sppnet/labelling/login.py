"""Secrets in the environment, which other processes do not see as they see command lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

TOKEN = "LABEL_STUDIO_API_KEY"
"""Environment variable with the token of a user of Label Studio."""
USER, PASSWORD = "SPPNET_USER", "SPPNET_PASSWORD"
"""Environment variables with what Label Studio must state."""


@dataclass(frozen=True)
class Login:
    """User and password of basic authentication."""

    user: str
    password: str

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Login | None:
        """Return user and password of the environment; None if neither is set.

        Raises:
            ValueError: only one is set.
        """
        user, password = variables.get(USER, ""), variables.get(PASSWORD, "")
        if bool(user) != bool(password):
            raise ValueError(f"{USER} and {PASSWORD}: set both or neither")
        return cls(user, password) if user else None
