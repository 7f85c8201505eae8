"""How property tests draw, of every folder: no example has a limit in time. Nothing else may stand here.

`make test` names Hypothesis' own profile ``ci`` instead: the same examples each time, so that a chance find stops no
change that has nothing to do with it. Looking for new ones is `make fuzz`.
"""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    settings.get_profile("default"),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# Also where the variable CI is set, which has Hypothesis draw the same each time, whatever the seed.
settings.load_profile("fuzz")
