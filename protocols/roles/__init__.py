"""The roles that every protocol is made of. The base classes do all checking that protocols share."""
