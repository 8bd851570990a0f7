"""What a client does to an update before it leaves, what that costs in privacy, and where the cost is written down.

`mechanism` clips, rounds and noises one upload; `randomness` and `discrete_gaussian` are where its noise comes from;
`events` says what was done, `ledger` keeps it, `accounting` turns it into an epsilon and `calibration` goes the other
way.
"""
