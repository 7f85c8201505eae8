"""The sample agent platform: planner, tool adapters, inference, evaluation, and what they lean on.

Each program is started as ``python -m testbed.platform.NAME`` and configured by its environment alone. Nothing here
knows the control plane or the node agent: the same programs run in a container on a real cluster. This package's
``__init__`` imports nothing, so that a pre-imported process can fork any of the programs cheaply.
"""
