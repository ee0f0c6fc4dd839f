"""Dagster resources: thin wrappers that open what the settings point at, when a run asks for it."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from pipelines.clock import Clock, SystemClock
from pipelines.lake import Lake
from pipelines.settings import Home, Settings
from pipelines.workspace import Workspace, open_workspace


class WorkspaceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Settings, home, project and clock of the process a run lives in."""

    def settings(self) -> Settings:
        return Settings.load()

    def home(self) -> Home:
        """Raises HomeInvalid when the home was never made."""
        home = Home(self.settings().home)
        home.identity()
        return home

    @property
    def project(self) -> Path:
        return self.settings().project

    def clock(self) -> Clock:
        return SystemClock()

    def open(self) -> Workspace:
        """All of them together, with the lake. Raises HomeInvalid when there is no home."""
        return open_workspace()


class LakeResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The lake of the home in the settings."""

    def open(self) -> Lake:
        return Lake(Home(Settings.load().home).lake)
