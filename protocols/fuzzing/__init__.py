"""Mutated messages for every decoder of this package: none accepted, none crashing, none slow or large.

    python -m protocols.fuzzing                    10,000 mutants for each target, a table, exit code 1 on a finding
    python -m protocols.fuzzing --atheris 60       guided by coverage, 60 seconds a target

It is made of

    mutate      from an honest message to hostile ones, signed by their sender or not
    recorded    one honest round of a protocol, and every party's state before each message
    targets     the decoders: what they read, in which state, who could have signed it
    campaign    counts what becomes of the mutants
    guided      the same targets for atheris
"""
