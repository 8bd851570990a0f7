"""The parties of a federation apart: what crosses between server, nodes and decryptors, and each party's steps."""
