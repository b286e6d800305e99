"""A trunk that is a registrar and a proxy with Record-Route: Kamailio."""

import asyncio

import pytest

from gateway import OUR_NUMBER
from kamailio import PASSWORD, USER, Kamailio
from pki import Authority

TRUNK = f"""register = true
username = "{USER}"
password = "{PASSWORD}"
"""


@pytest.fixture
def kamailios():
    """Those that were started; they outlive the gateway, which takes its leave of them."""
    started = []
    yield started
    for one in started:
        one.stop()


@pytest.fixture
def carrier(tmp_path, kamailios, gateway):
    """Starts Kamailio and the gateway: `carrier(phone, "tls", "SHA-256")` returns both."""

    def start(phone, transport, algorithm, **options):
        authority = Authority(tmp_path / "pki")
        kamailio = Kamailio(tmp_path / "kamailio", phone.sip, algorithm, authority.signs("kamailio", "DNS:localhost"), **options)
        kamailios.append(kamailio)
        port = kamailio.sips if transport == "tls" else kamailio.sip
        own = authority.signs("gateway", "DNS:localhost")
        offhook = gateway(f"sip:localhost:{port};transport={transport}", trunk_keys=TRUNK, options_s=1, tls=f'ca = "{authority.ca}"\n{own.keys}')
        return kamailio, offhook

    return start


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_calls_out_and_in_through_a_proxy(carrier, phone, alice, transport, algorithm):
    """REGISTER and INVITE answer their challenges; ACK and BYE of both sides find the way through the proxy."""
    async with phone(hz=660) as desk, alice:
        kamailio, offhook = carrier(desk, transport, algorithm)
        await kamailio.has_registered()

        out = alice.call(f"{desk.user}@phone.localhost", hz=440)
        await desk.will_say("CALL_INCOMING", 20)
        await desk.command("accept")
        await out.establish()
        await desk.will_say("CALL_ESTABLISHED", 20)
        await asyncio.sleep(1.5)
        await out.hang_up()
        await desk.will_say("CALL_CLOSED", 20)
        assert desk.heard.tone_seconds(440) > 0.7, desk.heard.describe(440, 660)
        await offhook.will_have_ended("hangup")

        desk.events.clear()
        await desk.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{kamailio.sip}")
        call = await alice.will_be_called(hz=440)
        call.ring()
        await call.answer()
        await desk.will_say("CALL_ESTABLISHED", 20)
        await asyncio.sleep(0.5)
        await desk.command("hangup")
        await call.sees("session-terminate", reason="success")
        await offhook.will_have_ended("hangup", calls=2)


async def test_a_nonce_that_has_expired_is_replaced_at_once(carrier, phone, alice):
    """stale=true: the call does not fail, and nobody is asked for another password."""
    async with phone() as desk, alice:
        kamailio, offhook = carrier(desk, "udp", "MD5", nonce_s=1)
        await kamailio.has_registered()
        await asyncio.sleep(2.2)
        out = alice.call(f"{desk.user}@phone.localhost")
        await desk.will_say("CALL_INCOMING", 20)
        out.retract()
        await desk.will_say("CALL_CLOSED", 20)
        await offhook.will_have_ended("cancelled")
