"""SCRAM-SHA-256 verifiers (RFC 5802, RFC 7677): a password reaches the database as nothing else."""

import base64
import hashlib
import hmac
import os

ITERATIONS = 4096  # PostgreSQL's own default (scram_iterations)
SALT_BYTES = 16


def verifier(password: str, iterations_and_salt: str | None = None) -> str:
    """Return PostgreSQL's stored form of an ASCII password.

    + password: ASCII; other characters would need SASLprep, which our secrets never do
    + iterations_and_salt: "4096:<base64>" of an existing verifier, to compare with; None: new salt
    """
    iterations, salt = ITERATIONS, os.urandom(SALT_BYTES)
    if iterations_and_salt:
        count, _, encoded = iterations_and_salt.partition(":")
        iterations, salt = int(count), base64.b64decode(encoded)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    head = f"SCRAM-SHA-256${iterations}:{base64.b64encode(salt).decode()}"
    return f"{head}${base64.b64encode(stored_key).decode()}:{base64.b64encode(server_key).decode()}"
