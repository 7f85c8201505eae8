"""Faults: actions that Chaos Toolkit calls, with their choice of victims, evidence and undo. `registry` lists them."""
