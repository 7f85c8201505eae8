"""Judges: pure functions over a record. They import `harness.model` only; no I/O, no clock, no drawing."""
