"""How good a recommender is: ranking metrics, the ways to choose what is ranked, and the baselines beside them."""
