"""SCRAM-SHA-256 verifiers: against the RFC's own exchange, and against themselves."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scram import ITERATIONS, SALT_BYTES, verifier

# RFC 7677, section 3: user "user", password "pencil".
SALT = "W22ZaJ0SNY7soEsUEjb6gQ=="
CLIENT_FIRST_BARE = "n=user,r=rOprNGfwEbeRWgbNEkqO"
NONCE = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
AUTH_MESSAGE = f"{CLIENT_FIRST_BARE},{NONCE},s={SALT},i=4096,c=biws,{NONCE}".encode()
CLIENT_PROOF = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_SIGNATURE = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="

PASSWORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def parts(text: str) -> tuple[str, bytes, bytes]:
    """Return "iterations:salt", StoredKey and ServerKey of a verifier."""
    kind, head, keys = text.split("$")
    assert kind == "SCRAM-SHA-256"
    stored, _, server = keys.partition(":")
    return head, base64.b64decode(stored), base64.b64decode(server)


def test_the_server_proves_itself_with_the_rfcs_signature() -> None:
    head, _, server_key = parts(verifier("pencil", f"4096:{SALT}"))
    assert head == f"4096:{SALT}"
    signature = hmac.digest(server_key, AUTH_MESSAGE, "sha256")
    assert base64.b64encode(signature).decode() == SERVER_SIGNATURE


def test_the_rfcs_client_is_let_in() -> None:
    _, stored_key, _ = parts(verifier("pencil", f"4096:{SALT}"))
    signature = hmac.digest(stored_key, AUTH_MESSAGE, "sha256")
    proof = base64.b64decode(CLIENT_PROOF)
    client_key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(client_key).digest() == stored_key


@settings(max_examples=15)
@given(PASSWORDS, PASSWORDS)
def test_a_verifier_knows_its_own_password_from_another(password: str, other: str) -> None:
    stored = verifier(password)
    head = parts(stored)[0]
    assert verifier(password, head) == stored
    assert (verifier(other, head) == stored) == (other == password)


def test_a_new_verifier_has_a_new_salt_of_postgresqls_size() -> None:
    first, second = (parts(verifier("pencil"))[0] for _ in range(2))
    assert first != second
    iterations, _, salt = first.partition(":")
    assert (int(iterations), len(base64.b64decode(salt))) == (ITERATIONS, SALT_BYTES)


def test_other_iterations_are_kept() -> None:
    assert parts(verifier("pencil", f"10000:{SALT}"))[0] == f"10000:{SALT}"


def test_refuses_a_password_that_would_need_saslprep() -> None:
    with pytest.raises(UnicodeEncodeError):
        verifier("pässword")
