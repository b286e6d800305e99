"""Which address is used: IPv6 all the way, and the interface that a request came to."""

import asyncio

import aioice.ice
import pytest

import ports
from gateway import CONTACT, OUR_NUMBER
from sipwire import Udp, request, sdp


@pytest.fixture
def six(monkeypatch):
    """The client has an IPv6 address and no other."""
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["::1"])


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_calls_over_ipv6(six, gateway, phone, alice, transport):
    """Signalling, RTP and ICE, both ways; the phone and the client have no IPv4 address to fall back on."""
    async with phone(hz=660, host="::1") as desk, alice:
        ours = ports.free()
        listen = [f"{kind}://[::1]:{ours}" for kind in ("udp", "tcp")]
        offhook = gateway(f"sip:[::1]:{desk.sip};transport={transport}", listen=listen, bind="::1")
        out = alice.call(CONTACT, hz=440)
        await desk.will_say("CALL_INCOMING", 20)
        await desk.command("accept")
        await out.establish()
        await desk.will_say("CALL_ESTABLISHED", 20)
        await asyncio.sleep(1.5)
        assert out.ear.sound.tone_seconds(660) > 0.7, out.ear.sound.describe(440, 660)
        await out.hang_up()
        await desk.will_say("CALL_CLOSED", 20)
        assert desk.heard.tone_seconds(440) > 0.7, desk.heard.describe(440, 660)
        desk.events.clear()
        await desk.command("dial", f"sip:{OUR_NUMBER}@[::1]:{ours};transport={transport}")
        call = await (await alice.will_be_called(hz=440)).answer()
        await desk.will_say("CALL_ESTABLISHED", 20)
        await asyncio.sleep(1.5)
        assert call.ear.sound.tone_seconds(660) > 0.7, call.ear.sound.describe(440, 660)
        await desk.command("hangup")
        await call.sees("session-terminate", reason="success")
        await offhook.will_have_ended("hangup", calls=2)


async def test_each_interface_speaks_for_itself(gateway, alice):
    """Answers and later requests leave from the address that the call came to, and name no other."""
    async with alice:
        second = ports.free()
        offhook = gateway("sip:127.0.0.1:9", listen=[f"udp://127.0.0.2:{second}"])
        for host, port in (("127.0.0.1", offhook.sip), ("127.0.0.2", second)):
            peer = await Udp.open(to=(host, port))
            contact = f"Contact: <sip:wire@127.0.0.1:{peer.port}>"
            uri = f"sip:{OUR_NUMBER}@{host}:{port}"
            peer.send(request("INVITE", uri, peer.via, contact, body=sdp(ports.free(2)), call=host))
            call = await (await alice.will_be_called()).answer()
            answer = await peer.will_get(200)
            assert answer["contact"] == f"<sip:offhook@{host}:{port}>"
            peer.send(request("ACK", uri, peer.via, call=host, to=answer["to"]))
            await call.hang_up()
            bye = await peer.will_get("BYE")
            assert bye["via"].startswith(f"SIP/2.0/UDP {host}:{port};"), bye["via"]
            assert peer.source == (host, port)
            peer.send(bye.answer(200))
        await offhook.will_have_ended("hangup", calls=2)
