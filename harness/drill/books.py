"""The runbooks of a drill as one: where several experiments may be hidden, people get the runbooks of all of them.

Pure. Which of them is the right one is for people to find out, so none may be left out and none be marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.model.drill import DrillError
from harness.runbook import Runbook, Step
from harness.runbook_commands import Command

TITLE = "Runbook"


@dataclass(frozen=True, slots=True)
class Books:
    """What people follow.

    Attributes:
        title: Says nothing of what is hidden.
        steps: Of all runbooks, in order.
    """

    title: str
    steps: tuple[Step, ...]

    def step(self, step: str) -> Step:
        """Return a step by its id.

        Raises:
            DrillError: There is none.
        """
        found = next((one for one in self.steps if one.step == step), None)
        if found is None:
            known = ", ".join(one.step for one in self.steps) or "it has none"
            raise DrillError(f"the runbook has no step {step!r}", f"there are: {known}")
        return found

    def command(self, step: str, number: int) -> Command:
        """Return a command of a step by its number, from 1.

        Raises:
            DrillError: There is none.
        """
        commands = self.step(step).commands
        if not 1 <= number <= len(commands):
            raise DrillError(f"step {step} has no command {number}", f"it has {len(commands)}")
        return commands[number - 1]


def one_of(runbooks: Sequence[Runbook]) -> Books:
    """Return the runbooks as one; steps of several are numbered ``2.3`` and told apart by their runbook's title."""
    if len(runbooks) == 1:
        return Books(TITLE, runbooks[0].steps)
    steps = tuple(
        replace(step, step=f"{number}.{step.step}", title=f"{book.title}: {step.title}")
        for number, book in enumerate(sorted(runbooks, key=lambda book: book.title), 1)
        for step in book.steps
    )
    return Books("Runbooks", steps)
