"""Experiments: one YAML file a game day, and the faults they may use. Imports nothing heavy."""
