"""What came of trying to break something: it worked, or who refused and in which words. For auditors' tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Attempt:
    """name: of the attack. adversary: who tries. against: what was attacked, such as a protocol. succeeded: whether the
    adversary got what it wanted. outcome: a sentence, the refusal's own words where there was one. foreseen: whether
    what was attacked makes no promise against it, or it is a control that has to succeed.
    """

    name: str
    adversary: str
    against: str
    succeeded: bool
    outcome: str
    foreseen: bool = False

    @property
    def as_promised(self) -> bool:
        """False for a broken promise, and for a control that failed: then the other attempts prove nothing."""
        return self.succeeded == self.foreseen

    @property
    def verdict(self) -> str:
        if self.as_promised:
            return "succeeded, as documented" if self.succeeded else "failed"
        return "SUCCEEDED" if self.succeeded else "FAILED, though it has to succeed"

    def to_json(self) -> dict[str, Any]:
        """Plain data under the names of the fields."""
        names = ("name", "adversary", "against", "succeeded", "outcome", "foreseen")
        return {name: getattr(self, name) for name in names}


def attempts_table(attempts: Sequence[Attempt]) -> Table:
    """A section for each attack, a row for each thing attacked."""
    table = Table()
    table.add_column("attempt", max_width=28)
    table.add_column("against", no_wrap=True)
    table.add_column("verdict", max_width=14)
    table.add_column("outcome")
    for at, it in enumerate(attempts):
        first = at == 0 or attempts[at - 1].name != it.name
        if first and at:
            table.add_section()
        name = f"{escape(it.name)}\n[dim]{escape(it.adversary)}[/dim]" if first else ""
        style = "" if it.as_promised else "[bold red]"
        table.add_row(name, escape(it.against), style + it.verdict, escape(it.outcome))
    return table
