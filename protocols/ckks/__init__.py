"""CKKS secure sums: encryption and decryption by TenSEAL's SEAL, packing and summation by this package.

What it promises: a server that follows the protocol, and clients that run the genuine program, learn nothing but the
opened sums, as long as the decryptor does not side with the server. A lying server can ask the decryptor to open a sum
of its own making once a round; nothing here stops that. Nor are ciphertexts authenticated: whoever can change one in
transit can shift the sum, and the decryptor's look at the noise catches only clumsy changes. Frames need a channel
that proves who sent them.
"""
