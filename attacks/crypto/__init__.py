"""Attacks on the cryptography of a secure sum, to be run against a protocol object: did what it released give the key?

They take bytes and numbers that the named adversary really has, and return a key or nothing; a key that is returned is
checked (ternary, or against the public key), so there are no false alarms. What they recover is as secret as the key
itself: keep it, print only whether there is one.

**Key recovery from released decryptions** (`key_recovery`). Adversary: whoever saw two ciphertexts, or sums of them,
and what their decryption was published as. On TenSEAL's own doubles, which anybody with TenSEAL alone can reproduce:

    primes = [q.value() for q in context.seal_context().data.key_context_data().parms().coeff_modulus()][:-1]
    attempt = key_recovery.from_doubles([(vector.serialize(), vector.decrypt())], degree=8192, data_primes=primes)
    attempt.key is not None       # the release gave the secret key away

(`import tenseal.sealapi` first; the last prime is SEAL's special one, left out of data_primes unless it is the only
one.) On what the `ckks` protocol releases, each pair being the residues that the server summed, in the upload's layout,
and the integers that the decryptor opened for them:

    attempt = key_recovery.from_integers([(residues, opened)], choose(spec))

with `protocols.ckks.parameters.choose`. It must find nothing: `attempt.key is None`.

**Crafted upload** (`crafted_upload`). Adversary: one enrolled client that learns the opened sums, or a server that
alters one. It succeeds against `ckks`, by that protocol's design:

    key = crafted_upload.recover_key(choose(spec), public_key, send, amplitude=1)

`send(body)` runs one round in which the body of one upload is `body`, and returns the opened integers, or raises the
refusal. public_key: as the bundle or the setup carries it. Against a protocol of one-time keys there is no public key
and no second polynomial to send, so nothing to call it with.

**Attempts on a whole protocol** (`attempts`; `python -m attacks.crypto`). These two, and what lying servers, insiders
and the network can do with messages, played on a small run of each protocol: a table of who refused what, in which
words. `attempts.run_attempts()` gives the same as `attacks.attempts.Attempt`.
"""
