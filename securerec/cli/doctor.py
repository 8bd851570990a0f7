"""`securerec doctor`: is everything installed, and does it work on this machine?"""

import os
import platform
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import typer
from rich.table import Table
from rich.text import Text

from securerec.cli.output import JsonFile, emit
from securerec.machine import Device, missing_cuda, usable_cores

if TYPE_CHECKING:
    from securerec.data.interactions import Interactions
    from securerec.models.pfedrec import PFedRec, ScoreFunctions

PACKAGES = ("numpy", "numba", "torch", "opacus", "tenseal", "cryptography", "safetensors", "pydantic", "typer")


def doctor_command(json_file: JsonFile = None) -> None:
    """Check the installation: versions, folders, and a small self-test of each part. Leaves with 1 when something
    fails.
    """
    checks = [_run(name, check) for name, check in CHECKS.items()]
    table = Table(title="securerec doctor", title_justify="left")
    for column in ("check", "", "detail"):
        table.add_column(column)
    for check in checks:
        mark = Text("ok", style="green") if check["ok"] else Text("FAILED", style="bold red")
        table.add_row(check["name"], mark, Text(f"{check['detail']} ({check['seconds']:.1f} s)"))
    ok = all(check["ok"] for check in checks)
    emit({"ok": ok, "checks": checks}, json_file, table)
    if not ok:
        raise typer.Exit(1)


def _run(name: str, check: Callable[[], str]) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        detail, ok = check(), True
    except Exception as error:  # a check that breaks in whatever way is a finding, not a crash
        detail, ok = f"{type(error).__name__}: {error}", False
    return {"name": name, "ok": ok, "detail": detail, "seconds": time.perf_counter() - started}


def _versions() -> str:
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            raise RuntimeError(f"package {package} is missing: install securerec again") from None
    return f"Python {platform.python_version()}, " + ", ".join(found)


def _machine() -> str:
    return f"{platform.system()} {platform.machine()}, {usable_cores()} cores for this process"


def _folders() -> str:
    from securerec.data import cache

    home = cache.home()
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=home):
        pass
    stored = ", ".join(cache.stored_names()) or "no data set yet (`securerec data fetch ml-100k`)"
    where = "set by SECUREREC_HOME" if os.environ.get("SECUREREC_HOME") else "the platform's cache folder"
    return f"{home} ({where}) can be written; stored: {stored}"


def _training() -> str:
    from securerec.training.reference import train_client
    from securerec.training.trainers import trainer_of

    model, train, table, functions = _small_cohort()
    trainer = trainer_of(model, train, train)
    draws = trainer.draw(np.random.default_rng(0))
    _, update, _ = trainer.train(table, functions, draws)
    worst = 0.0
    for client in range(train.n_users):
        want = train_client(model, table, functions.weights[client], functions.biases[client], *draws.of(client))
        rows, delta = update.of(client)
        worst = max(worst, float(np.abs(table[rows] + delta - want.table[rows]).max()))
    if worst > 1e-4:
        raise RuntimeError(f"the cohort trainer and torch differ by {worst:.2g}")
    return f"cohort trainer and torch client agree within {worst:.1g}"


def _cuda() -> str:
    import torch

    from securerec.training.trainers import trainer_of

    if missing := missing_cuda():
        return f"none, and so no --device cuda: {missing}"
    model, train, table, functions = _small_cohort()
    scale, sums = 2.0**20, []
    for device in get_args(Device):
        trainer = trainer_of(model, train, train, device=device)
        draws = trainer.draw(np.random.default_rng(0))
        _, _, summed = trainer.train(table, functions, draws, scale=scale, limit=1 << 40)
        sums.append(summed.total / scale if summed else np.nan)
    off = float(np.abs(sums[0] - sums[1]).max())
    if not off <= 1e-4:
        raise RuntimeError(f"local training on the GPU and on the processor differ by {off:.2g}")
    gpu = torch.cuda.get_device_properties(0)
    return f"{gpu.name}, {gpu.total_memory / 2**30:.0f} GiB; trainers on it and on the processor agree within {off:.1g}"


def _small_cohort() -> "tuple[PFedRec, Interactions, np.ndarray, ScoreFunctions]":
    """Three devices, and what they start from."""
    from securerec.data.interactions import Interactions
    from securerec.models.pfedrec import PFedRec

    model, rng = PFedRec(dim=8, item_lr_factor=0.5), np.random.default_rng(0)
    train = Interactions.from_lists([rng.permutation(50)[:12].tolist() for _ in range(3)], 50)
    return model, train, model.initial_table(50, rng), model.initial_functions(3, rng)


def _secure_sums() -> str:
    import protocols

    sizes = []
    values = np.random.default_rng(0).integers(-1000, 1001, (12, 2000))
    for name in protocols.PROTOCOLS:
        spec = protocols.SumSpec(length=2000, max_clients=12, min_clients=2, value_bound=1000, noise_sigma=50.0)
        enrolled = protocols.enrol(name, spec, run_id=b"doctor", client_ids=range(12))
        parties = protocols.LocalParties(enrolled)
        parties.values = dict(enumerate(values))
        server_round = enrolled.server().open_round(1, context=bytes(32), min_survivors=2)
        opened = protocols.conduct(server_round, parties).values
        wrong = int((opened != values.sum(axis=0)).sum())
        if wrong:
            raise RuntimeError(f"{wrong} of 2000 sums of protocol {name} are wrong")
        sizes.append(name)
    return f"sums of 12 clients exact by {', '.join(sizes)}"


def _noise() -> str:
    from securerec.privacy.discrete_gaussian import DiscreteGaussian
    from securerec.privacy.randomness import NoiseKey

    drawn = DiscreteGaussian(10.0).sample(NoiseKey.from_os().stream("doctor", 0, 0), 200_000)
    deviation = float(drawn.std())
    # Six standard errors of a deviation estimated from 200,000 draws.
    if abs(deviation - 10.0) > 6 * 10.0 / np.sqrt(2 * 200_000):
        raise RuntimeError(f"noise of deviation 10 came out with {deviation:.3f}")
    return f"discrete Gaussian of deviation 10 measured {deviation:.3f} over 200,000 draws from the operating system"


def _accounting() -> str:
    from securerec.privacy.calibration import calibrate_noise_multiplier

    multiplier = calibrate_noise_multiplier(
        epsilon=8.0, delta=1e-5, rounds=1, dimension=1000, sensitivity=1000.0, min_survivors=100
    )
    return f"one release at central epsilon 8, delta 1e-5 needs a noise multiplier of {multiplier:.3f} (rdp)"


CHECKS: dict[str, Callable[[], str]] = {
    "versions": _versions,
    "machine": _machine,
    "data folder": _folders,
    "local training": _training,
    "cuda": _cuda,
    "secure sums": _secure_sums,
    "noise": _noise,
    "accounting": _accounting,
}
