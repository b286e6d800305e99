"""What the MIX service was told is kept: over crashes, a full disk, and a database that goes away."""

import asyncio
import json
import random
import sqlite3
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import ports
from client import Client
from gateway import BINARY, CONTACT, offhook
from jingle_sdp import tag
from postgres import Postgres
from process import Process
from prosody import MIX, SECRET, USERS

CORE = "urn:xmpp:mix:core:1"
PUBSUB = "http://jabber.org/protocol/pubsub"
NODES = "urn:xmpp:mix:nodes:"
FORMS = "jabber:x:data"
MAM = "urn:xmpp:mam:2"
MISC = "urn:xmpp:mix:misc:0"
RSM = "http://jabber.org/protocol/rsm"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
CONFIG = """
[mix]
domain = "{mix}"
create = ["localhost"]

[[mix.channel]]
name = "support"
owner = ["alice@localhost"]

[store]
url = "{url}"
"""
SUPPORT = f"support@{MIX}"
# How long something may take that is not tested for its speed.
PATIENCE = 20


def config(url: str) -> str:
    return CONFIG.format(mix=MIX, url=url)


@pytest.fixture
def postgres(tmp_path):
    server = Postgres(tmp_path / "postgres")
    yield server
    server.remove()


async def join(client, channel: str, nick: str) -> ET.Element:
    nodes = "".join(f"<subscribe node='{NODES}{node}'/>" for node in ("messages", "participants", "presence"))
    return await client.iq(channel, "set", f"<join xmlns='{CORE}'>{nodes}<nick>{nick}</nick></join>", PATIENCE)


async def items(client, channel: str, node: str) -> list[ET.Element]:
    reply = await client.iq(channel, "get", f"<pubsub xmlns='{PUBSUB}'><items node='{NODES}{node}'/></pubsub>", PATIENCE)
    assert reply.get("type") == "result", ET.tostring(reply)
    return list(reply.iter(tag(PUBSUB, "item")))


async def participants(client, channel: str) -> dict[str, tuple[str, str]]:
    """The stable id and the nick of each bare JID."""
    found = {}
    for item in await items(client, channel, "participants"):
        found[item.findtext(f".//{tag(CORE, 'jid')}")] = (item.get("id"), item.findtext(f".//{tag(CORE, 'nick')}"))
    return found


def wants_patience(reply: ET.Element) -> bool:
    error = next((child for child in reply if child.tag.endswith("error")), None)
    return error is not None and error.get("type") == "wait" and error.find(tag(STANZAS, "internal-server-error")) is not None


class Truth:
    """What the service acknowledged, and what it was asked and has not answered."""

    def __init__(self):
        self.settled: dict[tuple[str, str], str | None] = {}
        self.asked: dict[tuple[str, str], str | None] = {}
        self.ids: dict[tuple[str, str], str] = {}
        self.acknowledged = 0
        self.news = asyncio.Event()
        self.crashed = False

    async def ask(self, key: tuple[str, str], value: str | None, request) -> None:
        """Makes a request that sets `key` to `value`; no answer or an error leaves it open whether it did."""
        self.asked[key] = value
        reply = await request
        if reply.get("type") != "result":
            return
        del self.asked[key]
        self.settled[key] = value
        if (joined := reply.find(tag(CORE, "join"))) is not None:
            known = self.ids.setdefault(key, joined.get("id"))
            assert known == joined.get("id"), "a stable id has changed"
        self.acknowledged += 1
        self.news.set()

    def check(self, key: tuple[str, str], found: str | None) -> None:
        """Holds what is there against what was acknowledged."""
        legal = {self.settled.get(key)} | ({self.asked[key]} if key in self.asked else set())
        assert found in legal, f"{key} is {found}; acknowledged or asked for were {legal}"
        self.settled[key] = found
        self.asked.pop(key, None)


async def act(dice: random.Random, client, channels: list[str], truth: Truth) -> None:
    """Joins, leaves and takes other nicks, and names channels, as fast as it is answered."""
    owns = client.bare.startswith("alice")
    # A cancelled wait_for may return as if nothing were: the flag ends it then.
    while not truth.crashed:
        channel = dice.choice(channels)
        key = (channel, client.bare)
        nick = f"{client.bare.split('@')[0]} {uuid.uuid4().hex[:8]}"
        what = dice.choice(["join", "leave", "nick", "name" if owns else "join"])
        if what == "name":
            form = (
                f"<x xmlns='{FORMS}' type='submit'><field var='FORM_TYPE' type='hidden'><value>{CORE}</value></field>"
                f"<field var='Name'><value>{nick}</value></field></x>"
            )
            publish = f"<pubsub xmlns='{PUBSUB}'><publish node='{NODES}info'><item>{form}</item></publish></pubsub>"
            await truth.ask((channel, "name"), nick, client.iq(channel, "set", publish, PATIENCE))
        elif what == "leave":
            await truth.ask(key, None, client.iq(channel, "set", f"<leave xmlns='{CORE}'/>", PATIENCE))
        elif what == "join" or truth.settled.get(key) is None:
            await truth.ask(key, nick, join(client, channel, nick))
        else:
            wish = f"<setnick xmlns='{CORE}'><nick>{nick}</nick></setnick>"
            await truth.ask(key, nick, client.iq(channel, "set", wish, PATIENCE))
        # The server answers for a service that is gone: not too often.
        await asyncio.sleep(0.005)


async def verify(alice, bob, channels: list[str], truth: Truth) -> None:
    for channel in channels:
        there = await participants(alice, channel)
        for user in (alice.bare, bob.bare):
            ident, nick = there.get(user, (None, None))
            truth.check((channel, user), nick)
            if ident:
                assert truth.ids.setdefault((channel, user), ident) == ident, "a stable id has changed"
        form = (await items(alice, channel, "info"))[0]
        names = [f for f in form.iter(tag(FORMS, "field")) if f.get("var") == "Name"]
        truth.check((channel, "name"), names[0].findtext(tag(FORMS, "value")))


async def crashes(gateway, alice, bob, url: str, seed: int) -> None:
    """Five crashes at random moments."""
    dice = random.Random(seed)
    offhook = gateway("sip:127.0.0.1:9", more=config(url))
    truth = Truth()
    made = await alice.iq(MIX, "set", f"<create xmlns='{CORE}' channel='made'/>", PATIENCE)
    assert made.get("type") == "result", ET.tostring(made)
    channels = [SUPPORT, f"made@{MIX}"]
    truth.settled = {(SUPPORT, "name"): "support", (channels[1], "name"): None}
    for _ in range(5):
        until = truth.acknowledged + dice.randint(3, 15)
        actors = [asyncio.create_task(act(random.Random(dice.random()), who, channels, truth)) for who in (alice, bob)]
        async with asyncio.timeout(PATIENCE):
            while truth.acknowledged < until:
                truth.news.clear()
                await truth.news.wait()
        await asyncio.sleep(dice.uniform(0, 0.03))
        offhook.kill()
        truth.crashed = True
        for actor in actors:
            actor.cancel()
        results = await asyncio.gather(*actors, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
        truth.crashed = False
        offhook.start()
        await verify(alice, bob, channels, truth)


@pytest.mark.parametrize("seed", range(4))
async def test_a_crash_loses_nothing_acknowledged_with_sqlite(gateway, prosody, alice, tmp_path, seed):
    async with alice, Client(prosody.c2s, "bob", USERS["bob"]) as bob:
        await crashes(gateway, alice, bob, f"sqlite://{tmp_path}/state.db", seed)


@pytest.mark.parametrize("seed", range(4))
async def test_a_crash_loses_nothing_acknowledged_with_postgres(gateway, prosody, alice, postgres, seed):
    async with alice, Client(prosody.c2s, "bob", USERS["bob"]) as bob:
        await crashes(gateway, alice, bob, postgres.url, seed)


async def will_join(client, channel: str, nick: str) -> None:
    """Joins as soon as that can be kept."""
    async with asyncio.timeout(PATIENCE):
        while (reply := await join(client, channel, nick)).get("type") != "result":
            assert wants_patience(reply), ET.tostring(reply)
            await asyncio.sleep(0.1)


async def outage(offhook, alice, bob, callee, breaks, mends) -> None:
    """What holds while nothing can be kept, and after that, and after a crash then."""
    await will_join(alice, SUPPORT, "Alice")
    breaks()
    async with asyncio.timeout(PATIENCE):
        while (reply := await join(bob, SUPPORT, f"Bob {uuid.uuid4().hex}")).get("type") == "result":
            pass
    assert wants_patience(reply), ET.tostring(reply)
    # Reading goes on, and so do calls.
    assert alice.bare in await participants(alice, SUPPORT)
    call = await alice.call(CONTACT).establish()
    await call.hang_up()
    await callee.will_say("CALL_CLOSED")
    mends()
    await will_join(bob, SUPPORT, "Bob at last")
    offhook.kill()
    offhook.start()
    there = await participants(alice, SUPPORT)
    assert {user: nick for user, (_, nick) in there.items()} == {alice.bare: "Alice", bob.bare: "Bob at last"}


async def test_a_full_disk_is_survived(gateway, prosody, alice, phone, tmp_path):
    # A small disk of the gateway's own, which is there as long as this program.
    disk = tmp_path / "disk"
    disk.mkdir()
    holder = Process("disk", tmp_path / "holder")
    holder.launch(["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=8m none {disk} && echo there && exec sleep 1000"])
    holder.logged("^there")
    ballast = Path(f"/proc/{holder.popen.pid}/root{disk}/ballast")

    def fill():
        with ballast.open("wb", buffering=0) as file:
            for size in (65536, 1024, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    pass

    async with phone(answer="auto", codecs=["PCMU"]) as callee, alice, Client(prosody.c2s, "bob", USERS["bob"]) as bob:
        offhook = gateway(
            f"sip:127.0.0.1:{callee.sip}",
            more=config(f"sqlite://{disk}/state.db"),
            under=("nsenter", "-t", holder.popen.pid, "-m", "--"),
        )
        await outage(offhook, alice, bob, callee, fill, ballast.unlink)


async def test_a_database_that_goes_and_comes_back_is_survived(gateway, prosody, alice, phone, postgres):
    async with phone(answer="auto", codecs=["PCMU"]) as callee, alice, Client(prosody.c2s, "bob", USERS["bob"]) as bob:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}", more=config(postgres.url))
        await outage(offhook, alice, bob, callee, postgres.stop, postgres.start)


async def ends_at_start(path: Path, url: str, port: int, more: str | None = None) -> str:
    """Starts the program with this store; what it says when it ends with status 1."""
    file = path / "offhook.toml"
    rtp = ports.free(40)
    file.write_text(
        f'[xmpp]\nserver = "127.0.0.1:{port}"\ndomain = "phone.localhost"\nsecret = "{SECRET}"\n'
        f'[sip]\nlisten = ["udp://127.0.0.1:{ports.free()}"]\n[media]\nbind = "127.0.0.1"\nxmpp_port = {ports.free(8)}\n'
        f'rtp_ports = "{rtp}-{rtp + 39}"\n' + (more or config(url))
    )
    ended = await offhook("run", "--config", file)
    assert ended.status == 1, ended
    return ended.err.strip().splitlines()[-1]


async def test_a_store_that_cannot_be_read_is_an_error_at_the_start(prosody, tmp_path):
    file = tmp_path / "state.db"
    url = f"sqlite://{file}"
    file.write_bytes(b"this is no database " * 100)
    assert "file is not a database" in await ends_at_start(tmp_path, url, prosody.component)
    file.unlink()
    nowhere = await ends_at_start(tmp_path, f"sqlite://{tmp_path}/nowhere/state.db", prosody.component)
    assert "store.url" in nowhere and "unable to open database file" in nowhere
    gone = await ends_at_start(tmp_path, f"postgres://offhook@localhost/x?host={tmp_path}", prosody.component)
    assert gone.startswith("offhook: store.url: postgres://offhook@localhost/x: ")


async def test_newer_and_damaged_tables_are_told_apart(gateway, prosody, alice, tmp_path):
    file = tmp_path / "state.db"
    program = gateway("sip:127.0.0.1:9", more=config(f"sqlite://{file}"))
    async with alice:
        await will_join(alice, SUPPORT, "Alice")
    assert program.stop() == 0
    with sqlite3.connect(file) as tables:
        kept = json.loads(tables.execute("SELECT record FROM mix_participant").fetchone()[0])
        assert kept["jid"] == alice.bare
        tables.execute("""UPDATE mix_participant SET record = '{"jid": "@"}'""")
    damaged = await ends_at_start(tmp_path, f"sqlite://{file}", prosody.component)
    assert "is damaged: a participant: `@` is no JID" in damaged
    with sqlite3.connect(file) as tables:
        tables.execute("UPDATE offhook_version SET version = 1000")
    newer = await ends_at_start(tmp_path, f"sqlite://{file}", prosody.component)
    assert "written by a later version of the program" in newer


async def history(client, inner: str = "") -> tuple[list[str], ET.Element]:
    """The bodies that a query brings, and its answer."""
    bodies = []

    def hear(stanza):
        if stanza.xml.find(tag(MAM, "result")) is not None:
            bodies.extend(body.text for body in stanza.xml.iter(tag("jabber:client", "body")))
        return stanza

    client.stream.add_filter("in", hear)
    reply = await client.iq(SUPPORT, "set", f"<query xmlns='{MAM}'>{inner}</query>", PATIENCE)
    client.stream.del_filter("in", hear)
    return bodies, reply


def rsm(inner: str) -> str:
    return f"<set xmlns='{RSM}'>{inner}</set>"


async def pages_through_history(gateway, prosody, alice, url: str) -> None:
    async with alice, Client(prosody.c2s, "bob", USERS["bob"]) as bob:
        program = gateway("sip:127.0.0.1:9", more=config(url))
        await will_join(alice, SUPPORT, "Alice")
        said = [f"number {n} <&>" for n in range(5)]
        for text in said:
            alice.send(f"<message type='groupchat' to='{SUPPORT}'><body>{text.replace('&', '&amp;').replace('<', '&lt;')}</body></message>")
        bodies, reply = await history(alice)
        assert (bodies, reply.find(tag(MAM, "fin")).get("complete")) == (said, "true"), ET.tostring(reply)
        refused, reply = await history(bob)
        assert not refused and reply.get("type") == "error"
        program.kill()
        program.start()
        page, reply = await history(alice, rsm("<max>2</max>"))
        fin = reply.find(tag(MAM, "fin"))
        assert (page, fin.get("complete")) == (said[:2], None)
        last = fin.findtext(f"{tag(RSM, 'set')}/{tag(RSM, 'last')}")
        assert (await history(alice, rsm(f"<max>2</max><after>{last}</after>")))[0] == said[2:4]
        assert (await history(alice, rsm("<max>2</max><before/>")))[0] == said[3:]
        _, unknown = await history(alice, rsm("<after>nothing</after>"))
        assert unknown.get("type") == "error"
        # The owner takes one back: everybody may hear it, and a tombstone is left.
        _, reply = await history(alice, rsm("<max>1</max>"))
        first = reply.find(tag(MAM, "fin")).findtext(f"{tag(RSM, 'set')}/{tag(RSM, 'first')}")
        alice.send(f"<message type='groupchat' to='{SUPPORT}'><retract xmlns='{MISC}' id='{first}'/></message>")
        async with asyncio.timeout(PATIENCE):
            while (await history(alice))[0] != said[1:]:
                await asyncio.sleep(0.05)
        program.kill()
        program.start()
        bodies, _ = await history(alice)
        assert bodies == said[1:]


async def test_the_history_of_a_channel_with_sqlite(gateway, prosody, alice, tmp_path):
    await pages_through_history(gateway, prosody, alice, f"sqlite://{tmp_path}/state.db")


async def test_the_history_of_a_channel_with_postgres(gateway, prosody, alice, postgres):
    await pages_through_history(gateway, prosody, alice, postgres.url)
