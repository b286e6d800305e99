"""A member of MIX channels: a client of slixmpp that writes its stanzas itself and keeps all that it hears."""

import asyncio
import re
import time
import uuid
import xml.etree.ElementTree as ET

import pytest

from client import Client
from ejabberd import Ejabberd
from jingle_sdp import tag
from prosody import MIX, USERS, Prosody

CORE = "urn:xmpp:mix:core:1"
ANON = "urn:xmpp:mix:anon:0"
ADMIN = "urn:xmpp:mix:admin:0"
MISC = "urn:xmpp:mix:misc:0"
PAM = "urn:xmpp:mix:pam:2"
PRESENCE = "urn:xmpp:mix:presence:0"
LEGACY = "urn:xmpp:presence:0"
NODES = "urn:xmpp:mix:nodes:"
PUBSUB = "http://jabber.org/protocol/pubsub"
EVENT = f"{PUBSUB}#event"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
USUAL = ("messages", "participants", "presence", "info")
CHANNEL = f"support@{MIX}"


@pytest.fixture(params=[Prosody, Ejabberd], ids=["prosody", "ejabberd"])
def either_server(tmp_path, request):
    """One server after the other, in the place of the fixture `prosody`."""
    server = request.param(tmp_path / "server")
    yield server
    server.stop()


def config(name: str = "support", owner: str = "alice@localhost", phones: tuple[str, ...] = (), more: str = "") -> str:
    """A `[mix]` section with one channel; `more` goes before it."""
    numbers = ", ".join(f'"{number}"' for number in phones)
    return f"""
[mix]
domain = "{MIX}"
create = ["localhost"]
{more}

[[mix.channel]]
name = "{name}"
owner = ["{owner}"]
phones = [{numbers}]
"""


def show(xml: ET.Element) -> str:
    return ET.tostring(xml, encoding="unicode")


def condition(reply: ET.Element) -> str:
    """The condition of an error."""
    assert reply.get("type") == "error", show(reply)
    error = next(child for child in reply if child.tag.endswith("}error"))
    return next(c.tag.split("}")[1] for c in error if c.tag.startswith(f"{{{STANZAS}}}") and not c.tag.endswith("text"))


def form(kind: str, fields: dict[str, str]) -> str:
    """A submitted form."""
    inner = "".join(f"<field var='{var}'><value>{value}</value></field>" for var, value in fields.items())
    return (
        f"<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{kind}</value></field>"
        f"{inner}</x>"
    )


class Member(Client):
    """`async with Member(server, "alice") as alice:`"""

    def __init__(self, server, user: str):
        super().__init__(server.c2s, user, USERS[user])
        self.heard: list[tuple[float, ET.Element]] = []
        # What it answers to requests with this payload, by the payload's tag; None: nothing.
        self.answers: dict[str, str | None] = {tag("urn:xmpp:ping", "ping"): ""}

    @property
    def resource(self) -> str:
        return self.full.split("/", 1)[1]

    def _incoming(self, stanza):
        xml = stanza.xml
        self.heard.append((time.monotonic(), xml))
        self._spawn(self._tell())
        payload = next(iter(xml), None)
        if xml.get("type") in ("get", "set") and payload is not None and payload.tag in self.answers:
            if (body := self.answers[payload.tag]) is not None:
                self.send(f"<iq type='result' to='{xml.get('from')}' id='{xml.get('id')}'>{body}</iq>")
            return None
        return super()._incoming(stanza)

    async def will_hear(self, is_it, timeout: float = 20, after: float = 0.0) -> ET.Element:
        """Waits for the first stanza that `is_it` is true of, past ones included."""

        def found():
            return next((xml for at, xml in self.heard if at >= after and is_it(xml)), None)

        async with self._news:
            try:
                return await asyncio.wait_for(self._news.wait_for(lambda: found() is not None), timeout) and found()
            except TimeoutError:
                past = "\n".join(show(xml) for _, xml in self.heard)
                raise AssertionError(f"{self.bare} did not hear it in {timeout} s; heard:\n{past}") from None

    async def will_hear_presence(self, sender: str, kind: str | None = None, after: float = 0.0) -> ET.Element:
        def is_it(xml):
            return xml.tag.endswith("}presence") and xml.get("from") == sender and xml.get("type") == kind

        return await self.will_hear(is_it, after=after)

    async def quiet(self) -> None:
        """Returns once all that the service has sent before has come: the answer to this comes after it."""
        await self.ask(CHANNEL, "get", "<ping xmlns='urn:xmpp:ping'/>")

    async def ask(self, to: str, kind: str, payload: str) -> ET.Element:
        """An iq with its answer, waiting longer than a busy machine takes."""
        return await self.iq(to, kind, payload, timeout=20)

    async def granted(self, to: str, kind: str, payload: str) -> ET.Element:
        reply = await self.ask(to, kind, payload)
        assert reply.get("type") == "result", show(reply)
        return reply

    async def refused(self, to: str, kind: str, payload: str) -> str:
        return condition(await self.ask(to, kind, payload))

    async def join(self, nick: str | None = None, nodes=USUAL, channel: str = CHANNEL, more: str = "") -> str:
        """Joins from its full JID, as clients without a server's help do; gives its encoded bare JID."""
        reply = await self.granted(channel, "set", joining(nick or self.bare.split("@")[0].title(), nodes, more))
        ident = reply.find(tag(CORE, "join")).get("id")
        assert re.fullmatch("[a-z0-9]{16,}", ident), ident
        return f"{ident}#{channel}"

    async def leave(self, channel: str = CHANNEL) -> None:
        await self.granted(channel, "set", f"<leave xmlns='{CORE}'/>")

    def show_up(self, inner: str = "", channel: str = CHANNEL, kind: str = "") -> None:
        """Sends its presence to the channel."""
        kind = f" type='{kind}'" if kind else ""
        self.send(f"<presence to='{channel}' id='{uuid.uuid4().hex}'{kind}>{inner}</presence>")

    async def items(self, node: str, channel: str = CHANNEL) -> list[ET.Element]:
        """The items of a node."""
        query = f"<pubsub xmlns='{PUBSUB}'><items node='{NODES}{node}'/></pubsub>"
        return list((await self.granted(channel, "get", query)).iter(tag(PUBSUB, "item")))

    async def publish(self, node: str, item: str, channel: str = CHANNEL) -> ET.Element:
        query = f"<pubsub xmlns='{PUBSUB}'><publish node='{NODES}{node}'>{item}</publish></pubsub>"
        return await self.ask(channel, "set", query)

    async def configure(self, **fields: str) -> None:
        """Sets fields of the config node; `_` stands for a space."""
        fields = {var.replace("_", " "): value for var, value in fields.items()}
        reply = await self.publish("config", f"<item>{form(ADMIN, fields)}</item>")
        assert reply.get("type") == "result", show(reply)


def joining(nick: str | None, nodes=USUAL, more: str = "") -> str:
    """A `<join/>`."""
    wanted = "".join(f"<subscribe node='{NODES}{node}'/>" for node in nodes)
    named = f"<nick>{nick}</nick>" if nick is not None else ""
    return f"<join xmlns='{CORE}'>{wanted}{named}{more}</join>"


def retracted(ident: str):
    """True of the event that tells that a participant has left."""

    def is_it(xml):
        gone = xml.findall(f"{tag(EVENT, 'event')}/{tag(EVENT, 'items')}/{tag(EVENT, 'retract')}")
        return any(one.get("id") == ident for one in gone)

    return is_it


async def talk(member: Client, to: str, callee) -> None:
    """A call with sound both ways; all of it comes from the JID that was called."""
    start = time.monotonic()
    call = member.call(to, hz=440)
    await callee.will_say("CALL_INCOMING")
    await call.sees("ringing")
    await callee.command("accept")
    await call.establish()
    await callee.will_say("CALL_ESTABLISHED")
    await asyncio.sleep(0.5)
    call.ear.fresh()
    await asyncio.sleep(1.5)
    sound = call.ear.sound
    assert sound.tone_seconds(660) > 1.0, sound.describe(440, 660)
    await call.hang_up()
    await callee.will_say("CALL_CLOSED")
    assert callee.heard.tone_seconds(440) > 1.0, callee.heard.describe(440, 660)
    others = {s.sender for s in member.seen if s.sid and s.at >= start} - {to, f"{to}/phone"}
    assert not others, others
