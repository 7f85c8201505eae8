"""The platform on a kind cluster: made from nothing, proven ready, taken away again.

Knows Docker, kind and kubectl only as programs, and imports nothing of the harness.
"""
