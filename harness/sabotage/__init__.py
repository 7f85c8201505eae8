"""The harness tested by mutation: something is broken on purpose, and the right verdict must turn for its reason."""
