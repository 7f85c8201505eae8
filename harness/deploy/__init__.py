"""What is deployed to a cluster: manifests made from the code, so that rights never fall behind it."""
