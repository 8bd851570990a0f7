"""`ckks-committee`: CKKS under keys that each client draws for one round and shares among a committee.

What it promises: a server that lies, with up to `tolerated` members and any clients beside it, learns no more of the
honest clients than the sum over one survivor set of at least the promised size, and the hint that docs/committee.md
describes. What it does not: a client that sends garbage within its own keys spoils a round and is not found out; with
exactly `threshold` answers nothing checks them against one another.
"""
