"""Gameday's harness: runs a game day, records it, and judges the record. Imports nothing heavy: children load it."""
