"""SIP as nobody should speak it but somebody does: the running program against messages made by hand."""

import asyncio
import re

import pytest

import ports
from gateway import CONTACT, OUR_NUMBER, dial
from sipwire import Server, Stream, Udp, request, sdp

URI = f"sip:{OUR_NUMBER}@127.0.0.1"


def options(peer, *more: str, **changes) -> bytes:
    return request("OPTIONS", URI, f"{peer.via};rport", *more, **changes)


def without(message: bytes, header: str) -> bytes:
    return re.sub(rb"(?im)^" + header.encode() + rb":.*\r\n", b"", message)


# What is sent, as a function of the peer, and the status that comes back; 0 is nothing.
ODD = {
    "a plain question": (options, 200),
    "compact names": (lambda p: options(p).replace(b"Via:", b"v:").replace(b"From:", b"f:").replace(b"To:", b"t:").replace(b"Call-ID:", b"i:"), 200),
    "a folded line": (lambda p: options(p).replace(b"CSeq: 1", b"CSeq:\r\n 1"), 200),
    "bare line feeds": (lambda p: options(p).replace(b"\r\n", b"\n"), 200),
    "a space before the colon": (lambda p: options(p).replace(b"Content-Length:", b"Content-Length :"), 200),
    "octets that are no UTF-8": (lambda p: options(p, "Subject: x").replace(b"Subject: x", b"Subject: \xff\xfe"), 200),
    "no length, and a body": (lambda p: without(options(p, body=sdp()), "Content-Length"), 200),
    "60,000 octets": (lambda p: options(p, f"Subject: {'x' * 59000}"), 200),
    "an unknown transport in Via": (lambda p: options(p).replace(b"SIP/2.0/UDP", b"SIP/2.0/CARRIER-PIGEON"), 200),
    "an unknown method": (lambda p: request("PIGEON", URI, f"{p.via};rport"), 501),
    "a method for others": (lambda p: request("SUBSCRIBE", URI, f"{p.via};rport", "Event: x"), 405),
    "a URI of another scheme": (lambda p: request("OPTIONS", "http://127.0.0.1/", f"{p.via};rport"), 416),
    "an extension that nobody knows": (lambda p: options(p, "Require: pigeons"), 420),
    "another version": (lambda p: options(p).replace(b"127.0.0.1 SIP/2.0\r\n", b"127.0.0.1 SIP/7.0\r\n"), 505),
    "no tag in From": (lambda p: options(p).replace(b";tag=wire", b""), 400),
    "a length beyond all bounds": (lambda p: options(p).replace(b"Content-Length: 0", b"Content-Length: 18446744073709551615"), 400),
    "two lengths that disagree": (lambda p: options(p, "Content-Length: 7"), 400),
    "a BYE of no dialog": (lambda p: request("BYE", URI, f"{p.via};rport", to=f"<{URI}>;tag=none"), 481),
    "a CANCEL of nothing": (lambda p: request("CANCEL", URI, f"{p.via};rport"), 481),
    "half a Via": (lambda p: options(p).replace(b"SIP/2.0/UDP", b"SIP/2.0/UD\r\nX:"), 0),
    "no Call-ID": (lambda p: without(options(p), "Call-ID"), 0),
    "nothing at all": (lambda p: b"\r\n\r\n", 0),
    "noise": (lambda p: bytes(range(256)), 0),
}


async def test_odd_messages_get_the_answer_that_their_fault_has(gateway):
    """One program takes them all, and answers as if nothing had been after each."""
    offhook = gateway("sip:127.0.0.1:9")
    for name, (made, status) in ODD.items():
        peer = await Udp.open(to=("127.0.0.1", offhook.sip))
        peer.send(made(peer))
        if status:
            answer = await peer.will_get(lambda m: m.status >= 200)
            assert answer.status == status, f"{name}: {answer}"
        peer.send(options(peer, tag="after"))
        answer = await peer.will_get(lambda m: m["from"].endswith("after"))
        assert answer.status == 200, f"after {name}: {answer}"
        assert peer.seen == [], f"{name}: {peer.seen}"
        peer.close()


async def test_answers_go_where_rfc_3261_sends_them(gateway):
    """§18.2.2: to the port of sent-by, unless rport asks for the source's (RFC 3581)."""
    offhook = gateway("sip:127.0.0.1:9")
    there = ("127.0.0.1", offhook.sip)
    source, sent_by = await Udp.open(to=there), await Udp.open(to=there)
    source.send(request("OPTIONS", URI, sent_by.via))
    answer = await sent_by.will_get(200)
    assert "rport" not in answer["via"]
    source.send(request("OPTIONS", URI, f"{sent_by.via};rport"))
    answer = await source.will_get(200)
    assert f"rport={source.port}" in answer["via"]
    assert not sent_by.seen


async def test_a_request_that_comes_by_two_ways_is_one_call(gateway, alice):
    """§8.2.2.2: the second gets 482."""
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        peer = await Udp.open(to=("127.0.0.1", offhook.sip))
        contact = f"Contact: <sip:wire@127.0.0.1:{peer.port}>"
        for branch in ("z9hG4bKone", "z9hG4bKtwo"):
            peer.send(request("INVITE", URI, peer.via, contact, body=sdp(), call="merged", branch=branch))
        assert "z9hG4bKtwo" in (await peer.will_get(482))["via"]
        call = await alice.will_be_called()
        call.decline("busy")
        assert "z9hG4bKone" in (await peer.will_get(486))["via"]
        assert len([s for s in alice.seen if s.what == "propose"]) == 1


async def test_a_stream_is_read_however_it_is_cut(gateway):
    offhook = gateway("sip:127.0.0.1:9")
    peer = await Stream.open(offhook.sip)
    for data in (options(peer, call="a") + options(peer, call="b"), b"\r\n\r\n" + options(peer, call="c", body=sdp())):
        peer.send(data)
    for octet in options(peer, call="d"):
        peer.send(bytes([octet]))
        await peer.writer.drain()
        await asyncio.sleep(0)
    for call in "abcd":
        assert (await peer.will_get(lambda m, call=call: m["call-id"] == call)).status == 200
    # RFC 5626 §4.4.1: a ping is answered, also between messages.
    assert peer.pongs == 1


async def test_a_stream_peer_that_does_not_read_holds_up_nobody(gateway):
    """It asks and asks; others, over UDP and TCP, are answered all the while."""
    offhook = gateway("sip:127.0.0.1:9")
    _, writer = await asyncio.open_connection("127.0.0.1", offhook.sip, limit=1024)
    writer.transport.pause_reading()
    for number in range(20_000):
        writer.write(request("OPTIONS", URI, f"TCP 127.0.0.1:9;branch=z9hG4bKdeaf{number}", call=f"deaf{number}"))
    peer = await Udp.open(to=("127.0.0.1", offhook.sip))
    stream = await Stream.open(offhook.sip)
    for one in (peer, stream):
        one.send(options(one))
        await one.will_get(200)
    writer.transport.abort()


async def test_strangers_hear_nothing(gateway):
    """Neither those that are no trunk, nor those that then go on; a trunk's address is answered beside them."""
    ours = ports.free()
    offhook = gateway("sip:127.0.0.1:9", listen=[f"udp://[::1]:{ours}", f"tcp://[::1]:{ours}"])
    stranger = await Udp.open("::1", to=("::1", ours))
    for method in ("OPTIONS", "INVITE", "REGISTER"):
        for _ in range(50):
            stranger.send(request(method, URI, f"UDP [::1]:{stranger.port};rport", body=sdp()))
    caller = await Stream.open(ours, host="::1")
    caller.send(request("OPTIONS", URI, "TCP [::1]:9"))
    known = await Udp.open(to=("127.0.0.1", offhook.sip))
    for _ in range(5):
        known.send(options(known))
        await known.will_get(200)
    assert stranger.seen == [] and caller.seen == []


async def test_a_full_trunk_says_when_to_come_back(gateway, alice):
    async with alice:
        offhook = gateway("sip:127.0.0.1:9", trunk_keys="max_calls = 1")
        peer = await Udp.open(to=("127.0.0.1", offhook.sip))
        contact = f"Contact: <sip:wire@127.0.0.1:{peer.port}>"
        peer.send(request("INVITE", URI, peer.via, contact, body=sdp(), call="one"))
        call = await alice.will_be_called()
        peer.send(request("INVITE", URI, peer.via, contact, body=sdp(), call="two"))
        refused = await peer.will_get(503)
        assert refused["call-id"] == "two" and int(refused["retry-after"]) > 0
        call.decline("busy")
        assert (await peer.will_get(486))["call-id"] == "one"


@pytest.mark.parametrize("fault", [408, 500, 503, 504, "icmp", "tcp refused"])
async def test_the_next_trunk_is_tried(prosody, gateway, tmp_path, fault):
    first, second = await Udp.open(), await Udp.open()
    uri = f"sip:127.0.0.1:{first.port}"
    if isinstance(fault, str):
        uri = f"sip:127.0.0.1:{ports.free()}" + (";transport=tcp" if "tcp" in fault else "")
    spare = f'[[trunk]]\nname = "spare"\nuri = "sip:127.0.0.1:{second.port}"\noptions_s = 0\n'
    gateway(uri, more=spare, trunks='"carrier", "spare"')
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    if isinstance(fault, int):
        invite = await first.will_get("INVITE")
        first.send(invite.answer(fault, "Not here"))
    invite = await second.will_get("INVITE")
    second.send(invite.answer(486, "Busy Here"))
    assert (await calling).json["result"] == "busy"


async def test_a_trunk_that_refuses_for_good_is_not_followed_by_the_next(prosody, gateway, tmp_path):
    """Busy, declined, unknown are the callee's answers, not the trunk's."""
    first, second = await Udp.open(), await Udp.open()
    spare = f'[[trunk]]\nname = "spare"\nuri = "sip:127.0.0.1:{second.port}"\noptions_s = 0\n'
    gateway(f"sip:127.0.0.1:{first.port}", more=spare, trunks='"carrier", "spare"')
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    invite = await first.will_get("INVITE")
    first.send(invite.answer(603, "Decline"))
    assert (await calling).json["result"] == "declined"
    assert second.seen == []


async def test_options_take_a_trunk_down_and_up(prosody, gateway, tmp_path):
    """A trunk that does not answer comes after the others of its route, until it answers again."""
    first, second = await Server.open(), await Udp.open()
    spare = f'[[trunk]]\nname = "spare"\nuri = "sip:127.0.0.1:{second.port}"\noptions_s = 0\n'
    gateway(f"sip:127.0.0.1:{first.port};transport=tcp", options_s=1, more=spare, trunks='"carrier", "spare"')
    peer = await first.will_connect()
    peer.send((await peer.will_get("OPTIONS")).answer(503))
    await peer.will_get("OPTIONS")
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    invite = await second.will_get("INVITE")
    second.send(invite.answer(486))
    assert (await calling).json["result"] == "busy"
    peer.seen.clear()
    peer.send((await peer.will_get("OPTIONS")).answer(200))
    await peer.will_get("OPTIONS")
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    invite = await peer.will_get("INVITE")
    peer.send(invite.answer(486))
    assert (await calling).json["result"] == "busy"


@pytest.mark.parametrize("method", ["UPDATE", "INVITE"])
async def test_a_new_contact_is_where_the_next_request_goes(prosody, gateway, tmp_path, method):
    """RFC 3261 §12.2: the target is refreshed by UPDATE and by re-INVITE."""
    first, second = await Udp.open(), await Udp.open()
    gateway(f"sip:127.0.0.1:{first.port};transport=udp")
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT, "--seconds", 4))
    invite = await first.will_get("INVITE")
    media = ports.free(2)
    first.send(invite.answer(200, "OK", f"Contact: <sip:old@127.0.0.1:{first.port}>", body=sdp(media)))
    await first.will_get("ACK")
    target = invite["contact"].strip("<>")
    moved = f"Contact: <sip:new@127.0.0.1:{second.port}>"
    change = request(
        method, target, f"{first.via};rport", moved, call=invite["call-id"], to=invite["from"], cseq=7,
        body=sdp(media) if method == "INVITE" else "",
    )
    own = f"From: {invite['to']};tag=wire".encode()
    first.send(re.sub(rb"(?m)^From: .*?(?=\r$)", own, change))
    answer = await first.will_get(lambda m: m.status >= 200 and m["cseq"] == f"7 {method}")
    assert answer.status == 200
    if method == "INVITE":
        ack = request("ACK", target, first.via, call=invite["call-id"], to=invite["from"], cseq=7)
        first.send(re.sub(rb"(?m)^From: .*?(?=\r$)", own, ack))
    bye = await second.will_get("BYE")
    assert bye.first == f"BYE sip:new@127.0.0.1:{second.port} SIP/2.0"
    second.send(bye.answer(200))
    await calling
    assert not [m for m in first.seen if m.method == "BYE"]


async def test_a_telephone_takes_the_place_of_another(gateway, alice):
    """RFC 3891: an INVITE with Replaces gets the user, who notices nothing; the telephone before it hears BYE."""
    async with alice:
        offhook = gateway("sip:127.0.0.1:9")
        first, second = [await Udp.open(to=("127.0.0.1", offhook.sip)) for _ in range(2)]

        async def answered(peer, name, *more):
            contact = f"Contact: <sip:{name}@127.0.0.1:{peer.port}>"
            peer.send(request("INVITE", URI, peer.via, contact, *more, body=sdp(ports.free(2)), call=name, tag=name))
            call = None if more else await (await alice.will_be_called()).answer()
            answer = await peer.will_get(lambda m: m.status >= 200)
            assert answer.status == 200, answer
            peer.send(request("ACK", URI, peer.via, call=name, to=answer["to"], tag=name))
            return call, answer["to"].partition("tag=")[2]

        call, ours = await answered(first, "one")
        await answered(second, "two", f"Replaces: one;to-tag={ours};from-tag=one")
        bye = await first.will_get("BYE")
        first.send(bye.answer(200))
        await call.hang_up()
        bye = await second.will_get("BYE")
        second.send(bye.answer(200))
        assert not [s for s in alice.seen if s.what in ("session-terminate", "propose") and s.sid != call.sid]
        await offhook.will_have_ended("hangup")
