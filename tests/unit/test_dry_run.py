"""A dry run reads what preflight reads, writes nothing, and tells every problem at once (harness.dry_run)."""

from dataclasses import replace

import pytest

from harness.definitions import Preview
from harness.dry_run import DryRun
from harness.model.errors import Refusal
from harness.model.fault import Permission, UndoRecord
from tests.unit.conductor_doubles import EXPERIMENT, TARGET, Kill, World

READS = {"identify", "access-review", "safety.ask", "watch", "observer.stop"}
VICTIM = {"kind": "Pod", "namespace": "agents", "name": "planner-1", "uid": "u3"}
LEFT = UndoRecord("r1", "earlier", "kill", "v1", "Node", "", "general-1", "u", "patch")


class Previewed(Kill):
    victims = (VICTIM,)

    def preview(self, actor, arguments, seed, target):
        return Preview(1, self.victims, self.w.preview_problem, undo=("nothing: the Deployment replaces it",))


def dry(world, experiment=EXPERIMENT, target=TARGET, fault=Previewed):
    needed = (Permission("delete", "pods", namespace="agents"),)
    return DryRun(experiment, target, world.drivers(), {"kill_pods": fault(world)}, needed, seed=1)


def test_what_would_run_is_told_by_name_with_its_undo_and_nothing_is_written():
    world = World()
    found = dry(world)
    assert (found.run(), found.problems) == (True, [])
    assert "  would hit Pod agents/planner-1" in found.lines
    assert "  undo: nothing: the Deployment replaces it" in found.lines
    assert "as runner" in found.lines[0]
    assert set(world.calls) == READS


def test_every_problem_is_told_and_not_only_the_first():
    world = World()
    world.missing = (Permission("delete", "pods", namespace="agents"),)
    world.leftovers = [LEFT]
    world.trouble_at_s = 0.0
    world.preview_problem = "the selector matches no pod"
    greedy = replace(
        EXPERIMENT, load=replace(EXPERIMENT.load, stages=(replace(EXPERIMENT.load.stages[0], to_rps=1e6),))
    )
    found = dry(world, greedy)
    assert not found.run()
    told = "\n".join(found.problems)
    for part in ("rps, and 100 are allowed", "not allowed: ", "undo record(s)", "halt lever", "matches no pod"):
        assert part in told
    assert set(world.calls) == READS


def test_outside_the_allowed_hours_it_says_when_the_next_opening_is():
    found = dry(World(), target=replace(TARGET, allowed_hours="Sun 09:00-16:00 Europe/Berlin"))
    assert not found.run()
    (problem,) = found.problems
    assert "allows runs Sun 09:00-16:00 Europe/Berlin" in problem
    assert "UTC on" in problem


def test_a06_victims_that_the_guard_would_not_allow_are_in_the_way():
    class Strays(Previewed):
        victims = ({**VICTIM, "uid": "somebody-else"},)

    found = dry(World(), fault=Strays)
    assert not found.run()
    assert "is not watched" in found.problems[0]


def test_a16_of_another_cluster_nothing_more_is_read():
    world = World()
    world.identity = replace(world.identity, kube_system_uid="another")
    with pytest.raises(Refusal, match="another cluster"):
        dry(world).run()
    assert world.calls == ["identify"]


def test_b07_credentials_that_were_not_sent_are_in_the_way():
    world = World()
    world.identity = replace(world.identity, user="system:anonymous")
    found = dry(world)
    assert not found.run()
    assert "takes us for nobody" in found.problems[0]


def test_the_watches_end_also_where_a_preview_fails():
    class Broken(Previewed):
        def preview(self, actor, arguments, seed, target):
            raise Refusal("targets", "no such namespace", "mend it")

    world = World()
    found = dry(world, fault=Broken)
    assert not found.run()
    assert world.calls[-1] == "observer.stop"
