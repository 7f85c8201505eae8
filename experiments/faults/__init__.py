"""Faults: action, choice of targets, evidence and undo of each, in one registry."""
