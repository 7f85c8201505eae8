"""The control plane of the local testbed: builds, certificates, supervision, boot and shutdown.

Imports neither the node agent nor the platform: they are programs that it starts.
"""
