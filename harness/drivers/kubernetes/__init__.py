"""The cluster, by the official client: observer, actor, undo ledger and Lease. Nothing heavy is imported here."""
