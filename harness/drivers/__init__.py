"""Drivers: one outside system each. None imports another."""
