"""Data sets: fetched, verified and cached, or imported from CSV; interactions as arrays; splits and candidates."""
