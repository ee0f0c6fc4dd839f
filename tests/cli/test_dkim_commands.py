"""`lettermill dkim`: a key from its making to its retirement."""

from __future__ import annotations

from typing import Any


def test_a_key_is_made_published_activated_and_followed_by_another(fresh: Any):
    made = fresh.run("dkim", "new", "mill.example", "one", "--kind", "ed25519").succeeded()
    fresh.run("dkim", "activate", "mill.example", "one").succeeded()
    fresh.run("dkim", "new", "mill.example", "two", "--kind", "ed25519").succeeded()

    told = fresh.run("dkim", "activate", "mill.example", "two").succeeded()

    assert made.out.startswith('one._domainkey.mill.example. TXT "v=DKIM1; k=ed25519; p=')
    assert "one signs no more" in told.err
    listed = fresh.run("dkim", "list").succeeded().out.split()
    assert listed[4:] == [
        "mill.example",
        "one",
        "ed25519",
        "old",
        "mill.example",
        "two",
        "ed25519",
        "active",
    ]


def test_a_key_that_does_not_wait_cannot_be_activated(fresh: Any):
    fresh.run("dkim", "activate", "mill.example", "none").refused(
        "no key none of mill.example waits", "lettermill dkim new mill.example SELECTOR"
    )


def test_a_kind_of_key_that_nobody_knows_is_told(fresh: Any):
    fresh.run("dkim", "new", "mill.example", "one", "--kind", "dsa").refused("rsa, ed25519")
