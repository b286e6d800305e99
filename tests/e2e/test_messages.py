"""Texts between users and telephones (RFC 3428, RFC 7572), receipts and errors, with real software on both sides."""

import asyncio

import pytest

import prosody
import sipwire
from client import Client
from gateway import CONTACT, OUR_NUMBER
from prosody import USERS as prosody_users

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"


def condition(seen) -> str:
    error = seen.xml.find("{jabber:client}error")
    return next(child.tag.split("}")[1] for child in error if child.tag.startswith(f"{{{STANZAS}}}"))


def words(seen) -> str:
    return seen.xml.find(f".//{{{STANZAS}}}text").text


async def test_a_user_and_a_telephone_write_to_each_other(gateway, phone, alice):
    async with phone() as romeo, alice:
        offhook = gateway(f"sip:127.0.0.1:{romeo.sip}")
        ident = alice.write(CONTACT, "Wherefore art thou Romeo? — “here”", receipt=True)
        await romeo.will_read("Wherefore art thou Romeo? — “here”")
        received = await alice.will_see("received", ident)
        assert received.sender.split("/")[0] == CONTACT
        await romeo.write(f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}", "By yonder blessed moon")
        said = await alice.will_see("body")
        assert said.xml.text == "By yonder blessed moon"
        assert said.sender.split("/")[0] == CONTACT
        # Chat states are nobody's to read.
        alice.send(f"<message type='chat' to='{CONTACT}'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>")
        await alice.will_not_see("message-error", "", 0.5)
        assert romeo.shown.count("Wherefore") == 1


async def test_the_answer_says_whether_a_device_has_the_text(gateway, alice):
    peer = await sipwire.Udp.open()
    offhook = gateway(f"sip:127.0.0.1:{peer.port}")
    peer.to = ("127.0.0.1", offhook.sip)
    uri = f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}"

    def write(text: str, kind: str = "text/plain", user: str = uri) -> bytes:
        data = sipwire.request("MESSAGE", user, peer.via, body=text)
        return data.replace(b"Content-Type: application/sdp", f"Content-Type: {kind}".encode())

    async with alice:
        peer.send(write("to a client without receipts"))
        await peer.will_get(202)
        alice.confirms = True
        peer.send(write("to one with receipts"))
        await peer.will_get(200)
        assert [s.xml.text for s in alice.seen if s.what == "body"] == ["to a client without receipts", "to one with receipts"]
        # The same bytes once more are the same text.
        again = write("only once")
        for _ in range(3):
            peer.send(again)
        await peer.will_get(200)
        await alice.will_see("body", timeout=5, after=0)
        await asyncio.sleep(0.5)
        assert [s.xml.text for s in alice.seen if s.what == "body"].count("only once") == 1
        # What is no text, and what is for nobody.
        peer.send(write("<isComposing/>", "application/im-iscomposing+xml"))
        assert (await peer.will_get(415))["accept"] == "text/plain"
        peer.send(write("hello", user=f"sip:+15559999999@127.0.0.1:{offhook.sip}"))
        await peer.will_get(404)
    peer.close()


@pytest.mark.parametrize(
    "code, is_condition, text",
    [
        (404, "item-not-found", "nicht vergeben. (404)"),
        (405, "feature-not-implemented", "nimmt nur Anrufe an"),
        (480, "recipient-unavailable", "nicht erreichbar. (480)"),
        (500, "internal-server-error", "nicht zugestellt. (500)"),
    ],
)
async def test_a_text_that_is_refused_comes_back_in_the_language_of_the_client(gateway, sipp, alice, code, is_condition, text):
    trunk = sipp("refuses_texts", code=code)
    alice.language = "de"
    async with alice:
        gateway(f"sip:127.0.0.1:{trunk.sip}")
        ident = alice.write(CONTACT, "hallo", lang="de", receipt=True)
        refused = await alice.will_see("message-error", "chat")
        assert refused.xml.get("id") == ident
        assert condition(refused) == is_condition and text in words(refused)
        await trunk.done()


async def test_texts_that_cannot_go_out_come_back(gateway, phone, alice):
    async with phone() as romeo, alice:
        gateway(f"sip:127.0.0.1:{romeo.sip}")
        alice.write(CONTACT, "long " * 300)
        refused = await alice.will_see("message-error", "chat")
        assert condition(refused) == "policy-violation" and "too long" in words(refused)
        omemo = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>eA==</payload></encrypted>"
        alice.write(CONTACT, "I sent you an OMEMO encrypted message", more=omemo, about="omemo")
        refused = await alice.will_see("message-error", "omemo")
        assert condition(refused) == "not-acceptable" and "encrypted" in words(refused)
        assert "long" not in romeo.shown and "OMEMO" not in romeo.shown


async def test_a_long_text_goes_by_tcp(gateway, alice):
    server = await sipwire.Server.open()
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{server.port};transport=tcp")
        text = "O, swear not by the moon! " * 150
        ident = alice.write(CONTACT, text, receipt=True)
        peer = await server.will_connect()
        message = await peer.will_get("MESSAGE")
        assert message.body.decode() == text and len(text) > 3000
        peer.send(message.answer(200))
        await alice.will_see("received", ident)
        # And back, by the same connection.
        uri = f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}"
        data = sipwire.request("MESSAGE", uri, peer.via, body=text).replace(b"application/sdp", b"text/plain")
        peer.send(data)
        await peer.will_get(202)
        assert (await alice.will_see("body")).xml.text == text
    server.close()


async def test_a_trunk_without_texts_says_so(gateway, phone, alice):
    async with phone() as romeo, alice:
        offhook = gateway(f"sip:127.0.0.1:{romeo.sip}", trunk_keys="messages = false")
        alice.write(CONTACT, "hello")
        refused = await alice.will_see("message-error", "chat")
        assert condition(refused) == "service-unavailable" and "calls only" in words(refused)
        await romeo.write(f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}", "hello")
        await alice.will_not_see("body", "", 1)


async def test_a_text_for_nobody_is_refused_by_the_users_server(gateway, prosody, alice):
    # Nobody of this name has an account.
    more = '\n[[number]]\nnumber = "+15550001001"\nring = ["nobody@localhost"]\n'
    peer = await sipwire.Udp.open()
    offhook = gateway(f"sip:127.0.0.1:{peer.port}", more=more)
    peer.to = ("127.0.0.1", offhook.sip)
    data = sipwire.request("MESSAGE", f"sip:+15550001001@127.0.0.1:{offhook.sip}", peer.via, body="hello")
    peer.send(data.replace(b"application/sdp", b"text/plain"))
    await peer.will_get(403)
    peer.close()


async def test_texts_within_a_call(gateway, alice):
    peer = await sipwire.Udp.open()
    offhook = gateway(f"sip:127.0.0.1:{peer.port}")
    peer.to = ("127.0.0.1", offhook.sip)
    async with alice:
        call = alice.call(CONTACT)
        invite = await peer.will_get("INVITE")
        contact = f"Contact: <sip:wire@127.0.0.1:{peer.port}>"
        peer.send(invite.answer(200, "OK", contact, body=sipwire.sdp()))
        await peer.will_get("ACK")
        target = invite["contact"].strip("<>")
        lines = [
            f"MESSAGE {target} SIP/2.0", f"Via: SIP/2.0/{peer.via};branch=z9hG4bKtext", "Max-Forwards: 70",
            f"From: {invite['to']};tag=wire", f"To: {invite['from']}", f"Call-ID: {invite['call-id']}", "CSeq: 1 MESSAGE",
        ]
        peer.send(sipwire.written(lines, "look at your screen").replace(b"application/sdp", b"text/plain"))
        await peer.will_get(202)
        said = await alice.will_see("body")
        assert said.xml.text == "look at your screen" and said.sender.split("/")[0] == CONTACT
        peer.send(sipwire.bye(invite, peer.via).replace(b"CSeq: 1 BYE", b"CSeq: 2 BYE"))
        await peer.will_get(200)
        await call.close()
        await offhook.will_be_idle()
    peer.close()


async def test_a_caller_who_hides_its_number_can_be_written_to_in_the_call(gateway, alice):
    peer = await sipwire.Udp.open()
    offhook = gateway(f"sip:127.0.0.1:{peer.port}")
    peer.to = ("127.0.0.1", offhook.sip)
    async with alice:
        uri, contact = f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}", f"Contact: <sip:wire@127.0.0.1:{peer.port}>"
        invite = sipwire.request("INVITE", uri, peer.via, contact, "Privacy: id", body=sipwire.sdp(), call="hidden")
        peer.send(invite)
        call = await alice.will_be_called()
        assert call.peer.startswith("anonymous-")
        await call.answer()
        answer = await peer.will_get(200)
        to, branch = answer["to"], {"call": "hidden", "to": answer["to"]}
        peer.send(sipwire.request("ACK", answer["contact"].strip("<>"), peer.via, **branch))
        ident = alice.write(call.peer.split("/")[0], "Who are you?", receipt=True)
        message = await peer.will_get("MESSAGE")
        assert message.body == b"Who are you?" and message["call-id"] == "hidden"
        assert message["from"].split("tag=")[1] == to.split("tag=")[1] and message["contact"] == ""
        peer.send(message.answer(200))
        await alice.will_see("received", ident)
        peer.send(sipwire.request("BYE", answer["contact"].strip("<>"), peer.via, cseq=2, **branch))
        await call.sees("session-terminate")
        # Without the call there is nobody to write to.
        alice.write(call.peer.split("/")[0], "Still there?")
        refused = await alice.will_see("message-error", "chat")
        assert condition(refused) == "item-not-found"
        await offhook.will_be_idle()
    peer.close()


async def test_every_user_of_a_number_reads_its_texts(gateway, prosody, alice):
    more = '\n[[number]]\nnumber = "+15550001001"\nring = ["alice@localhost", "bob@localhost", "nobody@localhost"]\n'
    peer = await sipwire.Udp.open()
    offhook = gateway(f"sip:127.0.0.1:{peer.port}", more=more)
    peer.to = ("127.0.0.1", offhook.sip)
    bob = Client(prosody.c2s, "bob", prosody_users["bob"])
    async with alice, bob:
        data = sipwire.request("MESSAGE", f"sip:+15550001001@127.0.0.1:{offhook.sip}", peer.via, body="hello both")
        peer.send(data.replace(b"application/sdp", b"text/plain"))
        # That one of them has no account does not matter to the others.
        await peer.will_get(202)
        for user in (alice, bob):
            assert (await user.will_see("body")).xml.text == "hello both"
    peer.close()


async def test_a_decloak_request_for_texts_is_answered_and_one_for_files_is_not(gateway, alice):
    async with alice:
        gateway("sip:127.0.0.1:9")
        for reason, contact in (("text", CONTACT), ("file", f"+15557654321@{prosody.GATEWAY}")):
            alice.send(f"<presence to='{contact}'><decloak xmlns='urn:xmpp:decloak:0' reason='{reason}'/></presence>")
        shown = await alice.will_see("presence", sender=f"{CONTACT}/phone")
        assert shown.xml.find("{http://jabber.org/protocol/caps}c") is not None
        query = await alice.disco(f"{CONTACT}/phone")
        assert "urn:xmpp:receipts" in [f.get("var") for f in query]
        await asyncio.sleep(0.5)
        assert not [s for s in alice.seen if s.sender.startswith("+15557654321")]
