"""The node agent: one process that plays the kubelets of a local testbed and runs pods as local processes.

Started as `python -m testbed.nodeagent --instance-dir DIR`. It talks to the instance's own API server and to loopback
addresses, never to an unmapped pod address or a ClusterIP. What it gives a container is said in docs/testbed.md.
"""
