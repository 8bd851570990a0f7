"""What every registered attack must hold; a new attack is covered without naming it here."""

import ast
import dataclasses
import inspect
import sys
import typing
from pathlib import Path

import numpy as np
import pytest

import attacks
from attacks.case import Case, Recording
from attacks.errors import AttackError
from attacks.goals.items import ITEMS, ItemScores, Seen
from attacks.registry import all_attacks, register, run_attacks
from attacks.views import KINDS, DenseUploads, RowUploads, Truth

PACKAGE = Path(attacks.__file__).parent
EVERY = pytest.mark.parametrize("attack", all_attacks(), ids=lambda attack: attack.name)


@pytest.fixture(scope="module")
def case(simulated):
    rng = np.random.default_rng(0)
    views = []
    for number in (1, 2, 3):
        views += [
            simulated.unprotected(number),
            simulated.noised(number, 1.0, rng),
            simulated.opened(number, list(range(60))),
        ]
    return Case(Recording.of(views), simulated.truth, simulated.public)


def arrays_of(view):
    uploads = view.uploads
    names = {DenseUploads: ("delta",), RowUploads: ("offsets", "rows", "delta")}.get(type(uploads), ("total",))
    return [view.table, view.popularity, view.clients, *(getattr(uploads, name) for name in names)]


@EVERY
def test_attack_finds_something_on_a_case_of_all_kinds_and_the_same_twice_and_changes_no_view(attack, case):
    views = [case.recording.view(kind, number) for kind in KINDS for number in case.recording.rounds(kind)]
    before = [array.copy() for view in views for array in arrays_of(view)]
    first, again = (run_attacks(case, seed=1, attacks=[attack]) for _ in range(2))
    assert first and [finding.to_json() for finding in first] == [finding.to_json() for finding in again]
    after = [array for view in views for array in arrays_of(view)]
    assert all(map(np.array_equal, before, after))


@EVERY
def test_finding_names_its_control_and_stands_within_its_interval(attack, case):
    for finding in run_attacks(case, seed=1, attacks=[attack]):
        assert finding.attack == attack.name and finding.goal == attack.goal.name and finding.n > 0
        assert finding.against in finding.controls and set(finding.rounds) <= {1, 2, 3}
        for estimate in (finding.result, finding.beyond, *finding.controls.values(), *finding.others.values()):
            assert estimate.low - 1e-9 <= estimate.mean <= estimate.high + 1e-9
        against = finding.controls[finding.against]
        assert finding.beyond.mean == pytest.approx(finding.result.mean - against.mean, abs=1e-6)


@EVERY
def test_attack_says_what_it_is(attack):
    assert attack.kinds and set(attack.kinds) <= set(KINDS)
    assert attack.adversary and attack.source and attack.summary and attack.goal.question.endswith("?")


@EVERY
def test_attack_is_a_function_of_evidence_that_leads_to_no_truth(attack):
    (parameter,) = inspect.signature(attack.run).parameters.values()
    assert not leads_to_the_truth(parameter.annotation, set())


def leads_to_the_truth(form, seen):
    """Whether a type, or any type in its fields or arguments, is one that holds the truth."""
    if form in (Truth, Case):
        return True
    if not isinstance(form, typing.Hashable) or form in seen:
        return False
    seen.add(form)
    inner = list(typing.get_args(form))
    if dataclasses.is_dataclass(form):
        inner += typing.get_type_hints(form).values()
    return any(leads_to_the_truth(each, seen) for each in inner)


def test_the_search_for_the_truth_finds_it():
    @dataclasses.dataclass
    class Peeking:
        inside: tuple[dict[str, Truth], ...]

    assert leads_to_the_truth(Peeking, set()) and leads_to_the_truth(Case, set())


def test_package_imports_nothing_of_the_recommender():
    allowed = {"attacks", "protocols", "numpy", "numba", "scipy", "sklearn", "threadpoolctl", "safetensors", "rich"}
    allowed.add("tenseal")  # whose own doubles are the control of the attack on released decryptions
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_two_attacks_of_one_name_are_refused():
    name = all_attacks()[0].name
    with pytest.raises(AttackError, match="two attacks are called"):

        @register(ITEMS, name=name, kinds=("opened_sum",), adversary="a", source="s", summary="s")
        def other(seen: Seen) -> ItemScores:
            raise NotImplementedError


def test_another_attack_beside_it_changes_no_figure(case):
    one, *others = all_attacks()
    alone = run_attacks(case, seed=3, attacks=[one])
    beside = [
        finding for finding in run_attacks(case, seed=3, attacks=[*others[:1], one]) if finding.attack == one.name
    ]
    assert [finding.to_json() for finding in alone] == [finding.to_json() for finding in beside]
