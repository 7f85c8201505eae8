"""What a run's record knows of the sabotage that its harness was tried with. Values only."""

SABOTAGE_FACT = "sabotage"
"""Fact of a run's header: by place (``twin``, ``testbed``) when it was tried, how many were caught, and whom."""

PLACES = ("twin", "testbed")
