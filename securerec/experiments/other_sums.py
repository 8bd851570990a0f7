"""What other people would do, measured beside this project's protocols: one process, every part by itself."""

import os
import statistics
import time
from collections import defaultdict
from importlib.util import find_spec
from typing import Any

import numpy as np

from securerec.experiments.sum_settings import Cost, Setting

NAIVE = "naive-ckks-vector"
FLOWER = "flower-secagg"
CLIENTS = 20
"""At most; one client's work is the same for any number in the first, and grows with the neighbours in the second."""


def naive(setting: Setting) -> Cost:
    """TenSEAL's tutorial way: one ckks_vector a client, 8192 [60, 40, 40, 60], scale 2^40, serialised whole."""
    import tenseal as ts

    # This process's own: TenSEAL tells standard output what its vectors cannot do, which no sum needs.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    clients = min(setting.clients, CLIENTS)
    context = ts.context(ts.SCHEME_TYPE.CKKS, 8192, coeff_mod_bit_sizes=[60, 40, 40, 60], n_threads=1)
    context.global_scale = 2.0**40
    public = ts.context_from(context.serialize(save_secret_key=False))
    total, size = None, 0
    times: dict[str, list[float]] = defaultdict(list)
    for client in range(clients):
        values = setting.values(client).astype(np.float64)
        clock = time.perf_counter()
        upload = ts.ckks_vector(public, values).serialize()
        times["client"].append(time.perf_counter() - clock)
        size = max(size, len(upload))
        clock = time.perf_counter()
        loaded = ts.ckks_vector_from(public, upload)
        total = loaded if total is None else total + loaded
        times["server"].append(time.perf_counter() - clock)
    assert total is not None
    total = ts.ckks_vector_from(context, total.serialize())
    clock = time.perf_counter()
    opened = np.rint(total.decrypt()).astype(np.int64)
    opening = time.perf_counter() - clock
    expected = np.sum([setting.values(client) for client in range(clients)], axis=0)
    return Cost(
        NAIVE, "8192 [60,40,40,60] 2^40", setting.length, clients, setting.bits, size, size / (4 * setting.length),
        1000 * statistics.median(times["client"]), 1000 * statistics.median(times["server"]), 1000 * opening,
        0.0, 0, int((opened != expected).sum()), None,
    )  # fmt: skip


def flower_is_installed() -> bool:
    return find_spec("flwr") is not None


def flower(setting: Setting) -> Cost:
    """Flower's SecAgg+ with its own functions, as its client and server call them, for clients that all mask with each
    other: quantise, add masks, serialise; then add, and take the clients' own masks off.

    Agreeing on keys, sharing them and moving messages are left out, and nobody drops out. Quantisation is set so that
    whole numbers stay as they are. Raises ImportError where `flwr` is not installed.
    """
    from flwr.common import bytes_to_ndarray, ndarray_to_bytes
    from flwr.common.secure_aggregation.ndarrays_arithmetic import (
        parameters_addition,
        parameters_mod,
        parameters_subtraction,
    )
    from flwr.common.secure_aggregation.quantization import (
        dequantize,
        quantize,
    )
    from flwr.common.secure_aggregation.secaggplus_utils import (
        pseudo_rand_gen,
    )

    modulus = 1 << 32
    shape: list[tuple[int, ...]] = [(setting.length,)]
    clients = min(setting.clients, CLIENTS)
    bound = setting.spec().upload_bound
    own = [os.urandom(32) for _ in range(clients)]
    between = {(i, j): os.urandom(32) for j in range(clients) for i in range(j)}
    total: list[Any] | None = None
    size = 0
    times: dict[str, list[float]] = defaultdict(list)
    for client in range(clients):
        values = [setting.values(client).astype(np.float64)]
        clock = time.perf_counter()
        masked = quantize(values, float(bound), 2 * bound)
        masked = parameters_addition(masked, pseudo_rand_gen(own[client], modulus, shape))
        for other in range(clients):
            if other != client:
                mask = pseudo_rand_gen(between[min(client, other), max(client, other)], modulus, shape)
                masked = (parameters_addition if client > other else parameters_subtraction)(masked, mask)
        upload = ndarray_to_bytes(parameters_mod(masked, modulus)[0])
        times["client"].append(time.perf_counter() - clock)
        size = max(size, len(upload))
        clock = time.perf_counter()
        arrived = [bytes_to_ndarray(upload)]
        total = arrived if total is None else parameters_mod(parameters_addition(total, arrived), modulus)
        times["server"].append(time.perf_counter() - clock)
    assert total is not None
    clock = time.perf_counter()
    for seed in own:
        total = parameters_subtraction(total, pseudo_rand_gen(seed, modulus, shape))
    (opened,) = dequantize(parameters_mod(total, modulus), float(bound), 2 * bound)
    opening = time.perf_counter() - clock
    # Each client shifts its values by the clipping range; dequantising takes that off once.
    opened = np.rint(opened - (clients - 1) * bound).astype(np.int64)
    expected = np.sum([setting.values(client) for client in range(clients)], axis=0)
    return Cost(
        FLOWER, f"{clients - 1} neighbours 2^32", setting.length, clients, setting.bits, size,
        size / (4 * setting.length), 1000 * statistics.median(times["client"]),
        1000 * statistics.median(times["server"]), 1000 * opening, 0.0, 0, int((opened != expected).sum()), None,
    )  # fmt: skip
