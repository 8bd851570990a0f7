"""What a run is worth to those who come after it: new users, new items, and tastes that drift."""
