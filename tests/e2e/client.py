"""An XMPP client that calls and is called, on stacks that are not ours: slixmpp, aiortc.

It speaks XEP-0353 and Jingle as Conversations, Movim and Monal do: propose to the bare JID, session
to the full JID that said `proceed`, one candidate a transport-info.
"""

import asyncio
import base64
import hashlib
import time
import uuid
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from aiortc import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack
from aiortc.rtcrtpsender import RTCRtpSender
from aiortc.sdp import candidate_from_sdp
from slixmpp import ClientXMPP

import jingle_sdp
from jingle_sdp import ICE, JINGLE, RTP, tag
from media import Ear, Eye, Keypad, ToneTrack

MESSAGE = "urn:xmpp:jingle-message:0"
DISCO = "http://jabber.org/protocol/disco#info"
CAPS = "http://jabber.org/protocol/caps"
INFO = "urn:xmpp:jingle:apps:rtp:info:1"
TRANSFER = "urn:xmpp:jingle:transfer:0"
RECEIPTS = "urn:xmpp:receipts"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
NODE = "https://offhook.invalid/e2e"
FEATURES = sorted(
    [CAPS, DISCO, MESSAGE, JINGLE, RTP, ICE, f"{RTP[:-1]}audio", "urn:xmpp:jingle:apps:dtls:0"]
)
# Every spelling of "show me that you are there" that was ever on the wire.
DECLOAK = {
    "decloak": "<decloak xmlns='urn:xmpp:decloak:0' reason='media'/>",
    "temppres": "<temppres xmlns='urn:xmpp:temppres:0' reason='media'/>",
    "telepathy": "<decloak xmlns='http://telepathy.freedesktop.org/xmpp/protocol/decloak' reason='media'/>",
    "without-reason": "<decloak xmlns='urn:xmpp:decloak:0'/>",
    "none": "",
}
for _prefix, _uri in (("jingle", JINGLE), ("rtp", RTP), ("ice", ICE), ("jmi", MESSAGE)):
    ET.register_namespace(_prefix, _uri)


def caps_hash(query: ET.Element) -> str:
    """XEP-0115 §5.1 for a disco#info result without forms."""
    identities = sorted(
        "/".join(
            identity.get(key, "")
            for key in ("category", "type", "{http://www.w3.org/XML/1998/namespace}lang", "name")
        )
        for identity in query.iter(tag(DISCO, "identity"))
    )
    features = sorted(feature.get("var") for feature in query.iter(tag(DISCO, "feature")))
    text = "".join(f"{part}<" for part in identities + features)
    return base64.b64encode(hashlib.sha1(text.encode()).digest()).decode()


def _own_disco(node: str | None) -> ET.Element:
    query = ET.Element(tag(DISCO, "query"), {"node": node} if node else {})
    ET.SubElement(query, tag(DISCO, "identity"), category="client", type="pc", name="e2e")
    for feature in FEATURES:
        ET.SubElement(query, tag(DISCO, "feature"), var=feature)
    return query


OWN_CAPS = f"<c xmlns='{CAPS}' hash='sha-1' node='{NODE}' ver='{caps_hash(_own_disco(None))}'/>"


@dataclass
class Seen:
    """One thing that came from the server."""

    at: float
    what: str  # a JMI element, a Jingle action, `presence`, `presence-unavailable`, `message-error`
    sid: str
    sender: str
    xml: ET.Element = field(repr=False)
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.sid} {self.sender} {self.reason}"


def _reason(element: ET.Element) -> str:
    reason = element.find(tag(JINGLE, "reason"))
    if reason is None:
        return ""
    names = [child.tag.split("}")[1] for child in reason if child.tag.startswith(f"{{{JINGLE}}}")]
    return next((name for name in names if name != "text"), "")


class Client:
    """One logged-in user; `async with Client(port, "alice", "…") as alice:`."""

    def __init__(self, port: int, user: str, password: str, domain: str = "localhost"):
        self.port = port
        self.bare = f"{user}@{domain}"
        self.password = password
        # What the stream is in; servers put it on every stanza that names no other.
        self.language = "en"
        # Whether it confirms texts that ask for it.
        self.confirms = False
        self.seen: list[Seen] = []
        self.calls: dict[str, Call] = {}
        self._news = asyncio.Condition()
        self._session = asyncio.Event()
        self._answers: dict[str, asyncio.Future] = {}
        self._sent: dict[str, str] = {}  # id of a message -> sid that it was about
        self._tasks: set[asyncio.Task] = set()

    @property
    def full(self) -> str:
        return self.stream.boundjid.full

    async def __aenter__(self) -> "Client":
        # slixmpp ties itself to the running loop, so not before.
        self.stream = ClientXMPP(f"{self.bare}/e2e-{uuid.uuid4().hex[:6]}", self.password, lang=self.language)
        self.stream.enable_plaintext = True
        self.stream.enable_starttls = False
        self.stream.enable_direct_tls = False
        self.stream["feature_mechanisms"].unencrypted_plain = True
        self.stream.auto_authorize = self.stream.auto_subscribe = None
        self.stream.add_event_handler("session_start", lambda _: self._session.set())
        self.stream.add_filter("in", self._incoming)
        self.stream.connect("127.0.0.1", self.port)
        await asyncio.wait_for(self._session.wait(), 10)
        await self._show_up()
        return self

    async def _show_up(self) -> None:
        # Only the presence that comes back says that the server now routes to this client.
        start = time.monotonic()
        self.send(f"<presence>{OWN_CAPS}</presence>")
        await self.will_see("presence", sender=self.full, after=start)

    async def log_in_again(self, timeout: float = 10) -> None:
        """Comes back with the same resource after the server was away."""
        end = time.monotonic() + timeout
        self._session.clear()
        while not self._session.is_set():
            assert time.monotonic() < end, "the server does not let the client in again"
            self.stream.connect("127.0.0.1", self.port)
            try:
                await asyncio.wait_for(self._session.wait(), 1)
            except TimeoutError:
                continue
        await self._show_up()

    async def __aexit__(self, *_) -> None:
        for call in self.calls.values():
            await call.close()
        for task in self._tasks:
            task.cancel()
        # Logging out matters: a resource that only vanished would stay for minutes.
        await self.stream.disconnect(wait=1)

    # --- stanzas ---

    def send(self, text: str) -> None:
        self.stream.send_raw(text)

    def message(self, to: str, name: str, sid: str, inner: str = "") -> None:
        """Sends a XEP-0353 element."""
        ident = f"m{uuid.uuid4().hex}"
        self._sent[ident] = sid
        self.send(
            f"<message type='chat' to={quoteattr(to)} id='{ident}'>"
            f"<{name} xmlns='{MESSAGE}' id={quoteattr(sid)}>{inner}</{name}>"
            "<store xmlns='urn:xmpp:hints'/></message>"
        )

    def write(self, to: str, text: str, lang: str = "en", receipt: bool = False, more: str = "", about: str = "chat") -> str:
        """Sends a chat message; returns its id. An error that comes back for it is noted under `about`."""
        ident = f"m{uuid.uuid4().hex}"
        self._sent[ident] = about
        more += f"<request xmlns='{RECEIPTS}'/>" if receipt else ""
        body = f"<body>{escape(text)}</body>{more}"
        self.send(f"<message type='chat' to={quoteattr(to)} id='{ident}' xml:lang='{lang}'>{body}</message>")
        return ident

    async def iq(self, to: str, kind: str, payload: str, timeout: float = 5) -> ET.Element:
        """Sends a request; returns the reply, also if it is an error."""
        ident = uuid.uuid4().hex
        answer = self._answers[ident] = asyncio.get_running_loop().create_future()
        self.send(f"<iq type='{kind}' to={quoteattr(to)} id='{ident}'>{payload}</iq>")
        try:
            return await asyncio.wait_for(answer, timeout)
        finally:
            del self._answers[ident]

    async def disco(self, to: str, node: str | None = None) -> ET.Element:
        """The `<query/>` of disco#info."""
        at = f" node={quoteattr(node)}" if node else ""
        reply = await self.iq(to, "get", f"<query xmlns='{DISCO}'{at}/>")
        assert reply.get("type") == "result", ET.tostring(reply)
        return reply.find(tag(DISCO, "query"))

    async def will_see(self, what: str, sid: str = "", timeout: float = 10, after: float = 0.0, **also) -> Seen:
        """Waits for the first thing of this name (and sid, and attributes), past ones included."""

        def found() -> Seen | None:
            for seen in self.seen:
                fits = seen.what == what and seen.sid == (sid or seen.sid) and seen.at >= after
                if fits and all(getattr(seen, key) == value for key, value in also.items()):
                    return seen
            return None

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(found), timeout)
            except TimeoutError:
                past = "\n".join(map(str, self.seen))
                raise AssertionError(f"{self.bare}: no {what} {also or ''} in {timeout} s; saw:\n{past}") from None
            return found()

    async def will_not_see(self, what: str, sid: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        assert not [s for s in self.seen if s.what == what and s.sid == sid], f"saw {what}"

    async def decloak(self, to: str, spelling: str = "decloak") -> tuple[Seen, float]:
        """Shows itself to `to`; returns the presence that comes back, and after how many seconds."""
        start = time.monotonic()
        self.send(f"<presence to={quoteattr(to)}>{OWN_CAPS}{DECLOAK[spelling]}</presence>")
        async with self._news:
            def found() -> Seen | None:
                for seen in self.seen:
                    if seen.what == "presence" and seen.at >= start and seen.sender.split("/")[0] == to:
                        return seen
                return None
            await asyncio.wait_for(self._news.wait_for(found), 5)
            return found(), found().at - start

    # --- what comes in ---

    def _incoming(self, stanza):
        # A filter may not fail: slixmpp would swallow the stanza and the reason.
        xml = stanza.xml
        name = xml.tag.split("}")[-1]
        if name == "iq":
            return self._take_iq(stanza)
        if name == "presence":
            kind = xml.get("type")
            self._note(f"presence-{kind}" if kind else "presence", "", xml, xml)
        if name == "message":
            if xml.get("type") == "error":
                # What it is about is told by its id, not by what it carries.
                self._note("message-error", self._sent.get(xml.get("id"), ""), xml, xml)
                return stanza
            for child in xml:
                if child.tag.endswith("}body"):
                    self._note("body", "", xml, child)
                if child.tag == tag(RECEIPTS, "received"):
                    self._note("received", child.get("id", ""), xml, child)
                if child.tag == tag(RECEIPTS, "request") and self.confirms:
                    received = f"<received xmlns='{RECEIPTS}' id={quoteattr(xml.get('id'))}/>"
                    self.send(f"<message type='chat' to={quoteattr(xml.get('from'))}>{received}</message>")
                if child.tag.startswith(f"{{{MESSAGE}}}"):
                    self._note(child.tag.split("}")[1], child.get("id", ""), xml, child)
        return stanza

    def _take_iq(self, stanza):
        xml = stanza.xml
        kind, ident, sender = xml.get("type"), xml.get("id", ""), xml.get("from", "")
        if kind in ("result", "error"):
            if (answer := self._answers.get(ident)) and not answer.done():
                answer.set_result(xml)
                return None
            return stanza
        if (query := xml.find(tag(DISCO, "query"))) is not None:
            body = ET.tostring(_own_disco(query.get("node")), encoding="unicode")
        elif (jingle := xml.find(tag(JINGLE, "jingle"))) is not None:
            body = ""
            self._note(jingle.get("action"), jingle.get("sid"), xml, jingle)
            if call := self.calls.get(jingle.get("sid")):
                self._spawn(call._take(jingle))
        else:
            return stanza
        self.send(f"<iq type='result' to={quoteattr(sender)} id={quoteattr(ident)}>{body}</iq>")
        return None

    def _note(self, what: str, sid: str, stanza: ET.Element, element: ET.Element) -> None:
        self.seen.append(
            Seen(time.monotonic(), what, sid, stanza.get("from", ""), element, _reason(element))
        )
        self._spawn(self._tell())

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _spawn(self, work) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # --- calls ---

    def call(self, to: str, hz: float = 440, **options) -> "Call":
        """Proposes a call to the bare JID `to`."""
        call = Call(self, to, str(uuid.uuid4()), hz, **options)
        call.proposed_at = time.monotonic()
        kinds = ["audio"] + (["video"] if call.video else [])
        self.message(to, "propose", call.sid, "".join(f"<description xmlns='{RTP}' media='{kind}'/>" for kind in kinds))
        return call

    async def will_be_called(self, hz: float = 440, timeout: float = 10, **options) -> "Call":
        """Waits for a propose that is not yet a call."""
        async with self._news:
            def found() -> Seen | None:
                return next((s for s in self.seen if s.what == "propose" and s.sid not in self.calls), None)
            await asyncio.wait_for(self._news.wait_for(found), timeout)
            seen = found()
        return Call(self, seen.sender, seen.sid, hz, **options)


def lie_about_fingerprint(jingle: ET.Element, instead: str) -> None:
    """Puts another fingerprint into a description, or none."""
    transport = jingle.find(f".//{tag(ICE, 'transport')}")
    element = transport.find(tag(jingle_sdp.DTLS, "fingerprint"))
    if instead:
        element.text = instead
    else:
        transport.remove(element)


class Call:
    """One call of a client, of either direction."""

    def __init__(self, client: Client, peer: str, sid: str, hz: float, codecs: list[str] | None = None, trickle: bool = True, fingerprint: str | None = None,
                 video: str = "", bundle: bool = True):
        self.client = client
        # Sent instead of the true one; an empty one is left out.
        self.fingerprint = fingerprint
        self.peer = peer
        self.sid = sid
        self.trickle = trickle
        self.codecs = codecs
        self.ear = Ear()
        self.keypad: Keypad | None = None
        self.codec = ""
        # The codec of its pictures, and whether they go by the transport of the sound.
        self.video = video
        self.bundle = bundle
        self.eye = Eye()
        self.names: list[str] = []
        policy = RTCBundlePolicy.BALANCED if bundle else RTCBundlePolicy.MAX_COMPAT
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[], bundlePolicy=policy))
        self.pc.on("track", lambda track: (self.ear.listen if track.kind == "audio" else self.eye.watch)(track))
        self.track = ToneTrack(hz)
        self.connected = asyncio.Event()
        self.pc.on("connectionstatechange", self._state)
        self._described = asyncio.Event()
        self.proposed_at = 0.0
        client.calls[sid] = self

    def _state(self) -> None:
        if self.pc.connectionState == "connected":
            self.connected.set()

    async def sees(self, what: str, timeout: float = 10, **also) -> Seen:
        """Waits for a thing of this call."""
        return await self.client.will_see(what, self.sid, timeout, **also)

    # --- as caller ---

    async def establish(self, timeout: float = 10) -> "Call":
        """From the propose to connected media."""
        proceed = await self.sees("proceed", timeout)
        self.peer = proceed.sender
        await self.offer_and_take_answer(timeout)
        await asyncio.wait_for(self.connected.wait(), timeout)
        return self

    async def offer_and_take_answer(self, timeout: float = 10) -> None:
        """What follows a proceed."""
        await self._offer()
        accept = await self.sees("session-accept", timeout)
        await self._take_description(accept.xml, "answer")

    async def _offer(self) -> None:
        self._add_track()
        await self.pc.setLocalDescription(await self.pc.createOffer())
        names = [transceiver.mid for transceiver in self.pc.getTransceivers()]
        await self._describe("session-initiate", names, jingle_sdp.TELEPHONE_EVENTS)

    def _add_track(self) -> None:
        transceiver = self.pc.addTransceiver(self.track, "sendrecv")
        if self.codecs:
            known = RTCRtpSender.getCapabilities("audio").codecs
            wanted = [c for name in self.codecs for c in known if c.mimeType.lower() == f"audio/{name.lower()}"]
            transceiver.setCodecPreferences(wanted)
        if self.video:
            transceiver = self.pc.addTransceiver(VideoStreamTrack(), "sendrecv")
            known = RTCRtpSender.getCapabilities("video").codecs
            transceiver.setCodecPreferences([c for c in known if c.mimeType.lower() == f"video/{self.video.lower()}"])

    # --- as callee ---

    def ring(self) -> None:
        self.client.message(self.peer, "ringing", self.sid)

    async def answer(self, timeout: float = 10) -> "Call":
        """From the propose to connected media."""
        self.client.message(self.peer, "proceed", self.sid)
        initiate = await self.sees("session-initiate", timeout)
        self.peer = initiate.sender
        content = initiate.xml.find(tag(JINGLE, "content"))
        self._add_track()
        await self._take_description(initiate.xml, "offer")
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        self._watch_keys()
        clock = self.keypad.clock
        events = {str(n): str(c) for n, c in jingle_sdp.telephone_events(initiate.xml).items() if c == clock}
        await self._describe("session-accept", [content.get("name")], events)
        await asyncio.wait_for(self.connected.wait(), timeout)
        return self

    def decline(self, reason: str = "busy") -> None:
        self.client.message(self.peer, "reject", self.sid, f"<reason xmlns='{JINGLE}'><{reason}/></reason>")

    # --- both ---

    def retract(self) -> None:
        """Gives up before the answer."""
        self.client.message(
            self.peer.split("/")[0], "retract", self.sid, f"<reason xmlns='{JINGLE}'><cancel/></reason>"
        )

    async def hang_up(self, reason: str = "success") -> None:
        inner = f"<reason><{reason}/></reason>"
        await self._jingle("session-terminate", inner)
        self.client.message(self.peer, "finish", self.sid, f"<reason xmlns='{JINGLE}'><{reason}/></reason>")
        await self.close()

    async def hold(self, holds: bool = True) -> None:
        """Holds the call, or takes it up again (XEP-0167 §8)."""
        await self._jingle("session-info", f"<{'hold' if holds else 'unhold'} xmlns='{INFO}'/>")

    async def transfer(self, to: str, other: "Call | None" = None) -> ET.Element:
        """Hands the call on to a contact (XEP-0251), or to the one of another call; returns the reply."""
        which = f" from={quoteattr(self.client.full)} sid={quoteattr(other.sid)}" if other else ""
        return await self._jingle("session-info", f"<transfer xmlns='{TRANSFER}' to={quoteattr(to)}{which}/>")

    async def sees_transferred(self, timeout: float = 20) -> None:
        """Waits for an end that says so."""
        end = await self.sees("session-terminate", timeout, reason="success")
        assert end.xml.find(f".//{tag(TRANSFER, 'transferred')}") is not None, ET.tostring(end.xml)

    async def close(self) -> None:
        await self.pc.close()

    async def _jingle(self, action: str, inner: str) -> ET.Element:
        return await self.client.iq(
            self.peer, "set", f"<jingle xmlns='{JINGLE}' action='{action}' sid={quoteattr(self.sid)}>{inner}</jingle>"
        )

    async def _describe(self, action: str, names: list[str], events: dict[str, str]) -> None:
        jingle = ET.Element(tag(JINGLE, "jingle"), action=action, sid=self.sid)
        self.names = names
        left = jingle_sdp.to_jingle(self.pc.localDescription.sdp, jingle, names, events, self.trickle, self.bundle)
        if self.fingerprint is not None:
            lie_about_fingerprint(jingle, self.fingerprint)
        reply = await self.client.iq(self.peer, "set", ET.tostring(jingle, encoding="unicode"))
        assert reply.get("type") == "result", ET.tostring(reply)
        for name, transport, candidate in ((name, transport, one) for name, transport, some in left for one in some):
            info = ET.Element(tag(ICE, "transport"), ufrag=transport.get("ufrag"), pwd=transport.get("pwd"))
            info.append(candidate)
            await self._jingle(
                "transport-info",
                f"<content creator='initiator' name='{name}'>{ET.tostring(info, encoding='unicode')}</content>",
            )

    async def _take_description(self, jingle: ET.Element, kind: str) -> None:
        await self.pc.setRemoteDescription(RTCSessionDescription(jingle_sdp.to_sdp(jingle), kind))
        self.names = [content.get("name") for content in jingle.findall(tag(JINGLE, "content"))]
        self._events = jingle_sdp.telephone_events(jingle)
        self._described.set()
        if kind == "answer":
            self._watch_keys()

    def _watch_keys(self) -> None:
        transceiver = self.pc.getTransceivers()[0]
        codec = transceiver._codecs[0]
        self.codec = codec.mimeType.split("/")[1]
        self.keypad = Keypad(transceiver.sender.transport, self._events, codec.clockRate)

    async def _take(self, jingle: ET.Element) -> None:
        if jingle.get("action") == "transport-info":
            await asyncio.wait_for(self._described.wait(), 10)
            for content in jingle.iter(tag(JINGLE, "content")):
                for element in content.iter(tag(ICE, "candidate")):
                    if element.get("component") == "1" and element.get("protocol") == "udp":
                        candidate = candidate_from_sdp(jingle_sdp.candidate_to_sdp(element))
                        candidate.sdpMLineIndex = self.names.index(content.get("name"))
                        await self.pc.addIceCandidate(candidate)
        if jingle.get("action") == "session-terminate":
            await self.close()
