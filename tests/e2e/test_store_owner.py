"""A store is one gateway's: a second one is refused, takes over when the first is gone, and nobody overwrites another's changes."""

import xml.etree.ElementTree as ET

import pytest

from pki import Authority
from postgres import Postgres
from prosody import MIX
from test_store import SUPPORT, config, ends_at_start, join, participants, wants_patience, will_join


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite://{tmp_path}/state.db"
        return
    server = Postgres(tmp_path / "postgres")
    yield server.url
    server.remove()


async def test_a_second_gateway_is_refused_and_takes_over_after_a_crash(gateway, prosody, alice, tmp_path, url):
    first = gateway("sip:127.0.0.1:9", more=config(url))
    async with alice:
        await will_join(alice, SUPPORT, "Alice")
        (tmp_path / "second").mkdir()
        refused = await ends_at_start(tmp_path / "second", url, prosody.component)
        assert f"another gateway keeps the channels of {MIX} there" in refused and "store.url: " in refused
        if url.startswith("sqlite"):
            assert f"(process {first.popen.pid})" in refused
        # The first has noticed nothing.
        await will_join(alice, SUPPORT, "Alice once more")
        first.kill()
        first.start()
        assert {nick for _, nick in (await participants(alice, SUPPORT)).values()} == {"Alice once more"}


async def test_a_symbolic_link_is_the_same_store(gateway, prosody, tmp_path):
    first = gateway("sip:127.0.0.1:9", more=config(f"sqlite://{tmp_path}/state.db"))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "link.db").symlink_to(tmp_path / "state.db")
    refused = await ends_at_start(tmp_path, f"sqlite://{tmp_path}/other/link.db", prosody.component)
    assert "another gateway keeps" in refused
    assert first.stop() == 0


async def test_services_with_names_of_their_own_share_a_database(gateway, prosody, tmp_path):
    server = Postgres(tmp_path / "postgres")
    try:
        first = gateway("sip:127.0.0.1:9", more=config(server.url))
        locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
        assert server.says(locks) == "1"
        (tmp_path / "second").mkdir()
        # It gets as far as the XMPP server, which has no such component.
        other = config(server.url).replace(MIX, f"another.{MIX}")
        said = await ends_at_start(tmp_path / "second", server.url, prosody.component, more=other)
        assert "refuses" in said and "another gateway keeps" not in said
        assert first.stop() == 0
        assert server.says(locks) == "0"
    finally:
        server.remove()


async def test_who_lost_the_store_to_another_writes_nothing_more(gateway, prosody, alice, tmp_path):
    server = Postgres(tmp_path / "postgres")
    try:
        first = gateway("sip:127.0.0.1:9", more=config(server.url))
        async with alice:
            await will_join(alice, SUPPORT, "Alice")
            cut = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            # A connection that breaks and comes back is nothing.
            assert server.says(cut) == "t"
            await will_join(alice, SUPPORT, "Alice again")
            # Another one that had the store in between, and changed something, is.
            assert server.says(cut) == "t"
            server.says(f"UPDATE offhook_owner SET mark = 'of another gateway' WHERE service = '{MIX}'")
            reply = await join(alice, SUPPORT, "Alice too late")
            assert wants_patience(reply), ET.tostring(reply)
            await first.will_log("another gateway has kept the channels of .* restart this one")
            assert {nick for _, nick in (await participants(alice, SUPPORT)).values()} <= {"Alice again", "Alice too late"}
            assert "Alice too late" not in server.says("SELECT record FROM mix_participant")
            # A restart reads what the other has left.
            first.stop()
            first.start()
            await will_join(alice, SUPPORT, "Alice at last")
            assert "Alice at last" in server.says("SELECT record FROM mix_participant")
    finally:
        server.remove()


async def test_postgres_over_tls(gateway, prosody, alice, tmp_path):
    pki, stranger = Authority(tmp_path / "pki"), Authority(tmp_path / "stranger")
    server = Postgres(tmp_path / "postgres", pki.signs("server", "DNS:localhost"))
    place = f"postgres://offhook@localhost:{server.port}/postgres"

    async def refused(parameters: str, host: str = "localhost") -> str:
        url = place.replace("localhost", host) + parameters
        said = await ends_at_start(tmp_path, url, prosody.component)
        assert said.startswith(f"offhook: store.url: {place.replace('localhost', host)}: "), said
        return said

    try:
        # The server takes nobody without TLS; nor do we take a server that is not the one.
        assert "no encryption" in await refused("?sslmode=disable")
        await refused("?sslmode=verify-full")
        await refused(f"?sslmode=verify-full&sslrootcert={stranger.ca}")
        await refused(f"?sslmode=verify-full&sslrootcert={pki.ca}", "127.0.0.1")
        program = gateway("sip:127.0.0.1:9", more=config(f"{place}?sslmode=verify-full&sslrootcert={pki.ca}"))
        async with alice:
            await will_join(alice, SUPPORT, "Alice")
        assert server.says("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE client_port > 0") == "t"
        assert program.stop() == 0
        # Without a word about it, TLS is taken where it can be had.
        program = gateway("sip:127.0.0.1:9", more=config(place))
        assert program.stop() == 0
    finally:
        server.remove()
