"""From one authority to the next: each step is believed by the last one, and none goes back."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import pytest
from cryptography import x509

import authorities
from authorities import Stage, ahead, check, is_next, names, stage, steps
from certificates import Authority, Subject, new_authority, sign
from cluster import Cluster
from operations import judgement_tls
from setting_types import SettingsError
from tests.clusters import REQUEST
from tests.refusals import in_form

NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
FORMER, NEW = new_authority("shop", 3650, NOW - timedelta(days=3000)), new_authority("shop", 9, NOW)
PREPARED = authorities.prepared(FORMER, NEW)
REPLACED = authorities.replaced(PREPARED)
WAY = [FORMER, PREPARED, REPLACED, NEW]


def made() -> Authority:
    return NEW


def never() -> Authority:
    raise AssertionError("there is a next one already")


def certificate(by: Authority) -> str:
    return sign(by, REQUEST, Subject("etcd@node1", ("node1",), ()), 5, NOW)


def believes(trust: Authority, signer: Authority) -> bool:
    """Say whether who runs by `trust` takes what the first of `signer` signs."""
    found = x509.load_pem_x509_certificate(certificate(signer).encode())
    return found.issuer.rfc4514_string() in names(trust)


# --- the way ------------------------------------------------------------------------------------


def test_the_way_has_one_authority_at_each_end() -> None:
    assert [stage(step) for step in WAY] == [
        Stage.SETTLED, Stage.PREPARED, Stage.REPLACED, Stage.SETTLED,
    ]  # fmt: skip
    assert authorities.settled(REPLACED) == NEW


def test_hosts_a_step_apart_believe_each_other() -> None:
    for before, after in pairwise(WAY):
        for one, other in product((before, after), repeat=2):
            assert believes(one, other)


def test_no_step_can_be_left_out() -> None:
    for (i, one), (j, other) in product(enumerate(WAY), repeat=2):
        if abs(i - j) > 1:
            assert not (believes(one, other) and believes(other, one)), (i, j)


def test_the_formers_key_goes_when_it_signs_no_more() -> None:
    assert FORMER.key.splitlines()[1] not in REPLACED.key
    assert NEW.key == REPLACED.key


@pytest.mark.parametrize(
    ("authority", "verb", "found"),
    [
        (FORMER, "prepare", [PREPARED]),
        (PREPARED, "replace", [PREPARED, REPLACED, NEW]),
        (REPLACED, "replace", [REPLACED, NEW]),
        (NEW, "replace", [NEW]),
    ],
    ids=["prepare", "replace", "killed_after_it_signed", "killed_at_the_end"],
)
def test_a_run_goes_on_from_what_is_there(
    authority: Authority, verb: str, found: list[Authority]
) -> None:
    assert steps(authority, verb, made) == found


def test_who_prepares_twice_makes_one_authority() -> None:
    assert steps(PREPARED, "prepare", never) == [PREPARED]


@pytest.mark.parametrize(
    ("authority", "verb", "says"),
    [
        (REPLACED, "prepare", "the authority is just being replaced"),
        (FORMER, "finish", "authority=finish means nothing"),
        (FORMER, "", "authority= means nothing"),
    ],
    ids=["while_it_is_replaced", "a_verb_that_there_is_not", "no_verb"],
)
def test_refuses_to_begin(authority: Authority, verb: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        steps(authority, verb, never)
    assert in_form(caught.value).problem == says


def test_texts_that_a_person_joined_are_read_as_well() -> None:
    by_hand = Authority(
        f"{FORMER.key.strip()}\n\n{NEW.key}",
        f"# the present one\n{FORMER.certificate}# the next\n{NEW.certificate.strip()}",
    )
    check(by_hand, NOW)
    assert authorities.replaced(by_hand) == REPLACED


# --- what is refused ----------------------------------------------------------------------------

OTHER = new_authority("shop", 3650, NOW)
UNFIT = {
    "three": (
        Authority(PREPARED.key + OTHER.key, PREPARED.certificate + OTHER.certificate), NOW,
        "authority_certificate holds 3 certificates and authority_key 3 keys",
    ),
    "key_of_another": (
        Authority(OTHER.key, FORMER.certificate), NOW,
        "authority_key does not belong to authority_certificate",
    ),
    "second_key_of_another": (
        Authority(FORMER.key + OTHER.key, PREPARED.certificate), NOW,
        "authority_key does not belong to authority_certificate",
    ),
    "wrong_order": (
        Authority(NEW.key, PREPARED.certificate), NOW,
        "authority_key does not belong to authority_certificate",
    ),
    "no_key": (
        Authority("", FORMER.certificate), NOW,
        "authority_certificate holds 1 certificates and authority_key 0 keys",
    ),
    "damaged": (
        Authority(FORMER.key, "-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n"), NOW,
        "authority_certificate or authority_key is damaged",
    ),
    "ended": (
        NEW, NOW + timedelta(days=9),
        "the cluster's authority ended on 2027-03-10: nobody believes what it signed",
    ),
    "next_one_ended": (
        PREPARED, NOW + timedelta(days=9),
        "the cluster's authority ended on 2027-03-10: nobody believes what it signed",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("authority", "now", "says"), UNFIT.values(), ids=UNFIT)
def test_refuses(authority: Authority, now: datetime, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        check(authority, now)
    assert in_form(caught.value).problem == says
    assert "docs/operations.md" in caught.value.hint or "belongs to" in caught.value.hint
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("authority", WAY, ids=["former", "prepared", "replaced", "new"])
def test_takes(authority: Authority) -> None:
    check(authority, NOW + timedelta(days=9) - timedelta(seconds=1))


def test_a_former_one_may_have_ended() -> None:
    check(REPLACED, NOW + timedelta(days=8))
    old = Authority(REPLACED.key, NEW.certificate + new_authority("shop", 1, NOW).certificate)
    check(old, NOW + timedelta(days=8))


# --- never backwards ----------------------------------------------------------------------------


def test_secrets_from_before_are_seen_by_what_a_host_believes() -> None:
    new = next(iter(names(NEW)))
    assert ahead(PREPARED.certificate, FORMER) == new
    assert ahead(NEW.certificate, FORMER) == new


@pytest.mark.parametrize(
    ("trusted", "authority"),
    [
        ("", FORMER),
        ("?", FORMER),
        ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", FORMER),
        *((step.certificate, after) for step, after in pairwise(WAY)),
        *((step.certificate, step) for step in WAY),
        (FORMER.certificate, NEW),  # the former's key was lost, and a new pair made by hand
    ],
)
def test_nothing_is_ahead_of_secrets_that_are_as_new(trusted: str, authority: Authority) -> None:
    assert ahead(trusted, authority) is None


def test_secrets_from_before_are_seen_by_who_signed() -> None:
    assert is_next(certificate(NEW), PREPARED)
    assert not is_next(certificate(FORMER), PREPARED)
    assert not is_next(certificate(OTHER), PREPARED)
    assert not is_next("", PREPARED)
    for step, signer in product((FORMER, REPLACED, NEW), (FORMER, NEW)):
        assert not is_next(certificate(signer), step)


# --- its proof ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "days", "status", "words"),
    [
        (FORMER, 0, "ok", ["ends in 650 days"]),
        (FORMER, 470, "ok", ["ends in 180 days"]),
        (FORMER, 471, "warning", ["ends in 179 days", "authority=prepare"]),
        (FORMER, 650, "failed", ["ended on ", "The authority has ended"]),
        (PREPARED, 0, "warning", ["the next one is trusted", "authority=replace"]),
        (REPLACED, 0, "warning", ["the former one is still trusted", "authority=replace"]),
        (Authority(OTHER.key, FORMER.certificate), 0, "failed", ["does not belong to"]),
    ],
    ids=["fresh", "in_time", "time_to_prepare", "ended", "prepared", "replaced", "no_pair"],
)
def test_proof(
    found: Authority, days: int, status: str, words: list[str], cluster: Cluster
) -> None:
    proof = judgement_tls.authority(cluster, found, NOW + timedelta(days=days))
    assert proof.status == status
    assert [word for word in words if word not in f"{proof.evidence} {proof.hint}"] == []


# --- what is said -------------------------------------------------------------------------------


def test_says_what_comes_next() -> None:
    settled, prepared, replaced = Stage.SETTLED, Stage.PREPARED, Stage.REPLACED
    said = authorities.next_step(settled, prepared, may_write=True)
    assert "give /etc/pgha/ca.crt" in said
    assert "--data authority=replace\n" in said
    assert "put the second certificate" not in said
    assert "put the second certificate" in authorities.next_step(prepared, prepared, False)
    assert "Take the second certificate out" in authorities.next_step(replaced, replaced, False)
    assert "Keep a new copy" in authorities.next_step(prepared, settled, may_write=True)
    assert "--data authority=prepare\n" in authorities.next_step(settled, settled, may_write=True)
