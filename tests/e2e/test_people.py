"""What people read and type: why a call failed, what they missed, keys as text, numbers as they dial."""

import asyncio

import pytest

import prosody
from gateway import CONTACT, NUMBER

GATEWAY_IQ = "jabber:iq:gateway"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
LANG = "{http://www.w3.org/XML/1998/namespace}lang"


@pytest.mark.parametrize(
    "language, text",
    [
        ("en", "The line is busy. (486)"),
        ("de", "Der Anschluss ist besetzt. (486)"),
        ("fr", "La ligne est occupée. (486)"),
        ("es", "La línea está ocupada. (486)"),
    ],
)
async def test_a_failed_call_says_why_in_the_language_of_the_client(gateway, sipp, alice, language, text):
    trunk = sipp("fails", code=486, text="Busy Here")
    alice.language = language
    async with alice:
        offhook = gateway(f"sip:127.0.0.1:{trunk.sip}")
        call = alice.call(CONTACT)
        await call.sees("reject", reason="busy")
        said = await alice.will_see("body", timeout=20)
        assert said.xml.text == text
        assert said.xml.get(LANG) == language
        assert said.sender.split("/")[0] == CONTACT
        await trunk.done()
        await offhook.will_be_idle()


async def test_a_missed_call_leaves_number_and_time(incoming, alice):
    async with incoming() as (offhook, caller, call):
        call.ring()
        await caller.will_say("CALL_RINGING")
        await caller.command("hangup")
        await call.sees("retract")
        said = await alice.will_see("body", timeout=20)
        assert said.xml.text.startswith("Missed call from ")
        assert said.xml.text.endswith(" UTC")
        assert said.sender == call.peer
        await offhook.will_have_ended("cancelled")


async def test_keys_are_written_in_a_call(gateway, phone, alice):
    async with phone(answer="auto") as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(CONTACT).establish()
        await callee.will_say("CALL_ESTABLISHED")
        alice.write(CONTACT, "1 2#")
        await _pressed(callee, "12#")
        # What is no keys is a text.
        alice.write(CONTACT, "hallo", lang="de")
        await callee.will_read("hallo")
        assert callee.keys == "12#"
        await call.hang_up()
        await offhook.will_be_idle()


async def test_keys_behind_the_number_are_pressed_after_the_answer(gateway, phone, alice):
    async with phone(answer="auto") as callee, alice:
        offhook = gateway(f"sip:127.0.0.1:{callee.sip}")
        call = await alice.call(f"{NUMBER},12#@{prosody.GATEWAY}").establish()
        await callee.will_say("CALL_ESTABLISHED")
        await _pressed(callee, "12#")
        await call.hang_up()
        await offhook.will_be_idle()


async def _pressed(phone, keys: str) -> None:
    for _ in range(200):
        if phone.keys == keys:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the phone heard {phone.keys!r}, not {keys!r}")


async def test_numbers_are_typed_as_people_write_them(gateway, alice):
    alice.language = "fr"
    async with alice:
        gateway("sip:127.0.0.1:9")
        asked = await alice.iq(prosody.GATEWAY, "get", f"<query xmlns='{GATEWAY_IQ}'/>")
        assert asked.find(f".//{{{GATEWAY_IQ}}}prompt") is not None
        for typed, jid in [
            ("+1 (555) 123-4567", "+15551234567"),
            ("tel:+1-555-123-4567;postd=p12", "+15551234567,,12"),
            ("+1 555 123 4567, 12#", "+15551234567,12#"),
            ("(415) 555-2671", "+14155552671"),
            ("011 49 (30) 123456", "+4930123456"),
            ("sip:romeo@example.net", "romeo\\40example.net"),
        ]:
            prompt = f"<query xmlns='{GATEWAY_IQ}'><prompt>{typed}</prompt></query>"
            answer = await alice.iq(prosody.GATEWAY, "set", prompt)
            found = answer.find(f".//{{{GATEWAY_IQ}}}jid")
            assert found is not None and found.text == f"{jid}@{prosody.GATEWAY}"
        # Alice's number is American, so she dials as people do there.
        for typed, said in [("+999 1234567", "Aucun pays"), ("+1 555", "trop court"), ("555-1234", "pas un numéro de téléphone complet")]:
            wrong = f"<query xmlns='{GATEWAY_IQ}'><prompt>{typed}</prompt></query>"
            refused = await alice.iq(prosody.GATEWAY, "set", wrong)
            assert said in refused.find(f".//{{{STANZAS}}}text").text
        wrong = f"<query xmlns='{GATEWAY_IQ}'><prompt>appelle-moi</prompt></query>"
        refused = await alice.iq(prosody.GATEWAY, "set", wrong)
        text = refused.find(f".//{{{STANZAS}}}text")
        assert refused.get("type") == "error" and "n’est ni un numéro" in text.text
