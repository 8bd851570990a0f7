"""Secure sums by pairwise masks, opened by the clients themselves.

Bonawitz et al., Practical Secure Aggregation for Privacy-Preserving Machine Learning (CCS 2017), on the sparse graph
of Bell et al., Secure Single-Server Aggregation with (Poly)Logarithmic Overhead (CCS 2020). Every two neighbours
agree on a mask that one adds and the other subtracts; each client adds a mask of its own besides. The secrets behind
both are shared among the neighbours, who give the server the one kind for those who stayed and the other for those
who left, never both.

    graph     who is whose neighbour, how many, how many of them it takes
    shamir    sharing of secrets among up to 255 holders
    masks     from 32-byte seeds to vectors modulo a power of two
    keys      what two neighbours agree on: the mask's seed, boxes for shares, tags
    wire      bodies of the messages
    post      what neighbours send each other through the server
    client, server, opening    the roles, and how the server takes the masks off
"""
