"""The parties of a federation's folder, in one process: what the files that `deploy init` writes allow and refuse."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import securerec
from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import Layout, Public
from securerec.deploy.metrics import Metrics
from securerec.deploy.watching import METRICS
from securerec.device.policy import Policy
from securerec.errors import PrivacyError

sys.path.insert(0, str(Path(__file__).parent))
from local_run import run_of  # noqa: E402


@pytest.fixture
def layout(tmp_path: Path, toy: Dataset) -> Layout:
    values = {"training": {"rounds": 1}}
    config = make_config(values).resolved(toy.interactions.n_users, toy.interactions.n_items)
    return enrol(tmp_path / "f", toy, Wanted(config, devices=3, decryptors=3, address="127.0.0.1:9392"))


def test_the_written_policies_allow_the_whole_run_with_noise_of_the_operating_systems(layout: Layout) -> None:
    metrics = Metrics(METRICS)
    run_of(layout, metrics).play()
    assert 'securerec_attempts_total{outcome="opened"} 3' in metrics.text()
    assert "securerec_round 1\n" in metrics.text()
    assert not Public.open(layout.public).start.test_mode


@pytest.mark.parametrize("change", [{"min_cohort": 1000}, {"max_epsilon": 0.1}, {"protocols": ("pairwise",)}])
def test_a_node_whose_owner_allows_less_answers_nothing_and_its_devices_are_in_no_sum(
    layout: Layout, change: dict[str, object]
) -> None:
    path = layout.node(2) / "policy.toml"
    replace(Policy.read(path), **change).write(path)  # type: ignore[arg-type]
    metrics = Metrics(METRICS)
    with pytest.raises(PrivacyError, match="given up"):
        run_of(layout, metrics).play()
    assert 'securerec_attempts_total{outcome="given up"} 1' in metrics.text()
    assert not (layout.node(2) / "ledger.jsonl").exists()
    assert (layout.node(0) / "ledger.jsonl").exists()


def test_what_a_party_runs_imports_neither_torch_nor_anything_for_figures() -> None:
    pytest.importorskip("flwr")
    code = (
        "import sys, securerec.deploy.roles, securerec.federation.flower.supernode\n"
        "import securerec.federation.flower.client_app\n"
        "print([name for name in ('torch', 'opacus', 'sklearn', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_but_the_flower_package_imports_flwr() -> None:
    """Beside the benchmark that measures Flower's own secure sum."""
    root = Path(securerec.__file__).parent
    found = [
        path.relative_to(root)
        for path in root.rglob("*.py")
        if "flwr" in {line.split()[1].split(".")[0] for line in path.read_text().splitlines() if _is_import(line)}
    ]
    assert found and all(path.parts[:2] == ("federation", "flower") or path.parts[0] == "experiments" for path in found)


def _is_import(line: str) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] in ("import", "from")
