"""What attacks guess at: each goal makes the evidence, states the contract of an answer, and scores it."""
