"""What a client does to an update before it leaves, what that costs in privacy, and where the cost is written down.

`mechanism` clips, rounds (`rounding`) and noises one upload with discrete Gaussian noise, `other_noise` with Skellam or
discrete Laplace noise; `randomness` and `exact_sampler`, with a file for each law, are where noise comes from, and
`tails` says how far it reaches; `events` says what was done, `ledger` keeps it (`event_json` writes its lines),
`accounting` turns it into an epsilon and `calibration` goes the other way.
"""
