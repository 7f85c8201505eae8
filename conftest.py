"""Loads Gameday's pytest plugin; nothing else may stand here."""

pytest_plugins = ["harness.plugin"]
