"""How a round grows with its cohort: made-up worlds of more and more users over one catalogue, each in a process of its
own.
"""

import multiprocessing
import re
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from securerec.data.splits import draw_candidates, leave_one_out
from securerec.data.synthetic import synthesize
from securerec.evaluation import ranking
from securerec.federation.promise import CLEAR_FRACTION_BITS, CLEAR_VALUE_BOUND
from securerec.models.pfedrec import PFedRec
from securerec.training.cohort import CohortTrainer
from securerec.training.private_state import new_functions

SHARES = (0.1, 0.2, 0.5, 1.0)
"""Of the users asked for, one world each."""


@dataclass(frozen=True, slots=True)
class ScaleRow:
    """One world: median seconds of a round, and what its process needed.

    devices_s: draw, train, add up and score validation by the own view, of all clients, streamed. server_s: the step,
    and validation by the server's table. cpu_s_per_1000_clients: processor seconds of a round, all threads together,
    which tell more than the clock on a machine that others use too. peak_mb: the process's peak resident memory, MiB,
    the making of the world included; None where the system does not tell. score_functions_mb: what of the private state
    lies in a file, and counts as resident only while it is in use.
    """

    users: int
    items: int
    interactions: int
    threads: int
    devices_s: float
    server_s: float
    round_s: float
    round_s_per_1000_clients: float
    cpu_s_per_1000_clients: float
    peak_mb: float | None
    score_functions_mb: float


def ladder(users: int, interactions: int) -> list[tuple[int, int]]:
    """Users and interactions of each world, as many interactions a user in all of them."""
    return [(max(1, round(users * share)), max(3, round(interactions * share))) for share in SHARES]


def measure_scale(users: int, items: int, interactions: int, *, rounds: int) -> ScaleRow:
    """Play rounds of all clients of one world with the paper's settings, without privacy, in a fresh process.

    The first round is not counted. Raises DataError when there is no such world, RunError when training diverges.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, users, items, interactions, rounds).result()


def _measure(users: int, items: int, interactions: int, rounds: int) -> ScaleRow:
    world = synthesize(users, items, interactions, np.random.default_rng(0)).interactions
    split = leave_one_out(world)
    wanted = draw_candidates(world, split, np.random.default_rng(0)).validation
    model, rng = PFedRec(), np.random.default_rng(0)
    trainer = CohortTrainer(model, split.train, split.train)
    table, one = model.initial_table(items, rng), model.initial_functions(1, rng)
    scale, seconds, processor = 2.0**CLEAR_FRACTION_BITS, [], []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "score-functions"
        functions = new_functions(path, users, model.dim)
        functions.weights[:], functions.biases[:] = one.weights, one.biases
        for round_number in range(rounds + 1):
            times, spent = [time.perf_counter()], time.process_time()
            streamed = trainer.stream(
                table, functions, np.random.default_rng(round_number), scale=scale, limit=CLEAR_VALUE_BOUND,
                candidates=wanted, into=functions,
            )  # fmt: skip
            assert streamed.scores is not None
            times.append(time.perf_counter())
            table = (table + streamed.total.total / (scale * users)).astype(np.float32)
            for logits in (streamed.scores, trainer.score(table, functions, wanted)):
                ranking.hit_rate(*ranking.better_and_tied(logits, wanted >= 0), k=10)
            times.append(time.perf_counter())
            seconds.append(np.diff(times))
            processor.append(time.process_time() - spent)
        size = path.stat().st_size
    devices_s, server_s = (float(phase) for phase in np.median(seconds[1:], axis=0))
    round_s = statistics.median(float(both.sum()) for both in seconds[1:])
    return ScaleRow(
        users, items, interactions, trainer.threads, devices_s, server_s, round_s, 1000 * round_s / users,
        1000 * statistics.median(processor[1:]) / users, _peak_mb(), size / 2**20,
    )  # fmt: skip


def _peak_mb() -> float | None:
    """Peak resident memory of this process so far, MiB; None where the system has no /proc."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) / 1024 if found else None
