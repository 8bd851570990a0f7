"""Whole rounds, measured in processes of their own."""

from securerec.experiments.protocol_costs import measure
from securerec.experiments.sum_settings import Setting


def test_the_servers_memory_does_not_grow_with_the_cohort() -> None:
    few, many = (measure(Setting("ckks-committee", 30_000, clients, 16)) for clients in (120, 360))
    assert few.wrong == many.wrong == 0
    assert few.peak_mb is not None and many.peak_mb is not None
    # A server that kept uploads would keep 240 more.
    kept = 240 * many.upload_bytes / 2**20
    assert kept > 30
    assert many.peak_mb - few.peak_mb < kept / 8
