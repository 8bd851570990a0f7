"""What a device keeps for itself: its interactions and private state, its owner's policy, and what has left it."""
