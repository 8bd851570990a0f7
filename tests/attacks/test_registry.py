"""What every registered attack must hold; a new attack is covered without naming it here."""

import ast
import dataclasses
import inspect
from pathlib import Path

import numpy as np
import pytest

import attacks
from attacks.errors import AttackError
from attacks.registry import ItemScores, all_attacks, register
from attacks.scoring import checked
from attacks.views import KINDS, DenseUploads, OpenedSum, RowUploads, Truth, UploadView

PACKAGE = Path(attacks.__file__).parent


def views(simulated, kind):
    if kind == "unprotected_upload":
        return [simulated.unprotected(1), simulated.unprotected(4)]
    if kind == "noised_upload":
        return [simulated.noised(2, deviation, np.random.default_rng(0)) for deviation in (0.1, 5.0)]
    return [simulated.opened(2, [3, 4, 5]), simulated.opened(2, [8])]


@pytest.mark.parametrize("attack", all_attacks(), ids=lambda attack: attack.name)
@pytest.mark.parametrize("kind", KINDS)
def test_attack_answers_each_view_of_its_kinds_in_full_and_alike_twice(simulated, attack, kind):
    if kind not in attack.kinds:
        return
    for view in views(simulated, kind):
        first, again = checked(attack, view), checked(attack, view)
        assert first.scores.dtype == np.float32 and first.predicted.dtype == np.bool_
        assert np.array_equal(first.scores, again.scores) and np.array_equal(first.predicted, again.predicted)


@pytest.mark.parametrize("attack", all_attacks(), ids=lambda attack: attack.name)
def test_attack_leaves_the_view_as_it_was(simulated, attack):
    view = views(simulated, attack.kinds[0])[0]
    before = view.uploads.delta.copy(), view.table.copy(), view.popularity.copy()
    attack.run(view)
    assert all(map(np.array_equal, before, (view.uploads.delta, view.table, view.popularity)))


@pytest.mark.parametrize("attack", all_attacks(), ids=lambda attack: attack.name)
def test_attack_says_what_it_is(attack):
    assert attack.kinds and set(attack.kinds) <= set(KINDS)
    assert attack.adversary and attack.source and attack.summary


@pytest.mark.parametrize("attack", all_attacks(), ids=lambda attack: attack.name)
def test_attack_is_a_function_of_the_view_alone(attack):
    assert [p.annotation for p in inspect.signature(attack.run).parameters.values()] == [UploadView]


def test_no_field_of_a_view_leads_to_the_truth():
    for form in (UploadView, DenseUploads, RowUploads, OpenedSum):
        assert not any("Truth" in str(field.type) for field in dataclasses.fields(form))
    assert not any(issubclass(form, Truth) for form in (UploadView, DenseUploads, RowUploads, OpenedSum))


def test_package_imports_nothing_of_the_recommender():
    allowed = {"attacks", "protocols", "numpy", "safetensors", "rich"}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in __import__("sys").stdlib_module_names, f"{path.name} imports {name}"


def test_two_attacks_of_one_name_are_refused():
    name = all_attacks()[0].name
    with pytest.raises(AttackError, match="two attacks are called"):

        @register(name=name, kinds=("opened_sum",), adversary="a", source="s", summary="s")
        def other(view: UploadView) -> ItemScores:
            raise NotImplementedError
