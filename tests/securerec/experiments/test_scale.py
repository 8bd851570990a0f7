from securerec.experiments.scale import ladder, measure_scale


def test_worlds_of_a_ladder_have_as_many_interactions_a_user() -> None:
    assert ladder(1000, 20_000) == [(100, 2000), (200, 4000), (500, 10_000), (1000, 20_000)]


def test_memory_does_not_hold_everybodys_changes() -> None:
    few, many = (measure_scale(users, 500, 60 * users, rounds=1) for users in (200, 4000))
    assert few.peak_mb is not None and many.peak_mb is not None
    # 3,800 more clients touch about 150 rows of 128 bytes each.
    kept = 3800 * 150 * 128 / 2**20
    assert many.peak_mb - few.peak_mb < kept / 2
    assert many.round_s >= many.devices_s > 0
