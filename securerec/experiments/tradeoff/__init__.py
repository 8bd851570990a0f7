"""What privacy costs: methods over epsilons, under secure sums and without them, on many seeds and data sets."""
