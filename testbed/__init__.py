"""The local testbed: a real Kubernetes control plane and a sample agent platform as loopback processes.

A product of its own: nothing in here imports the harness, and the harness knows it only as a target.
"""
