"""Attacks of a curious server that sees only sums over cohorts, and who took part in each."""
