"""Loads Gameday's pytest plugin, and pytest's own pytester for its tests; nothing else may stand here."""

pytest_plugins = ["harness.plugin", "pytester"]
