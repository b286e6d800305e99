"""SIP over TLS: who proves what to whom, and peers that are slow, silent or gone."""

import asyncio
import signal
import ssl

import pytest

import ports
from gateway import CONTACT, OUR_NUMBER, dial
from pki import Authority, Certified
from sipwire import Server, Stream, bye, request, sdp


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "pki")


def serving(own: Certified, ca=None) -> ssl.SSLContext:
    """A server's side; with `ca` it wants a certificate of the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(own.cert, own.key)
    if ca:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def asking(authority: Authority, own: Certified | None = None) -> ssl.SSLContext:
    """A client's side."""
    context = ssl.create_default_context(cafile=authority.ca)
    if own:
        context.load_cert_chain(own.cert, own.key)
    return context


def options(peer: Stream) -> bytes:
    return request("OPTIONS", f"sip:{OUR_NUMBER}@127.0.0.1", peer.via)


async def is_answered(peer: Stream) -> None:
    peer.send(options(peer))
    await peer.will_get(200)


async def test_a_server_is_known_by_its_names_and_sees_which_one_is_meant(gateway, authority):
    """SNI goes out; a call over the verified connection is answered and hung up on it."""
    own = authority.signs("server", "DNS:sip.example", "DNS:localhost")
    meant = []
    context = serving(own)
    context.sni_callback = lambda _, name, __: meant.append(name)
    server = await Server.open(context)
    gateway(f"sip:localhost:{server.port};transport=tls", tls=f'ca = "{authority.ca}"\n{own.keys}', options_s=1)
    peer = await server.will_connect()
    asked = await peer.will_get("OPTIONS")
    assert asked["via"].startswith("SIP/2.0/TLS 127.0.0.1:")
    assert ";transport=tls" in asked["contact"]
    assert meant == ["localhost"]
    peer.send(asked.answer(200))
    # The next one comes by the same connection.
    again = await peer.will_get("OPTIONS")
    peer.send(again.answer(200))
    assert not server.connected and not server.failures


@pytest.mark.parametrize(
    "names",
    [
        ["DNS:other.example"],
        # RFC 5922 §7.2.
        ["DNS:*.localhost", "DNS:*"],
        # §7.1: a SIP URI is the whole truth.
        ["URI:sip:other.example", "DNS:localhost"],
        # The common name alone, as in old certificates.
        [],
    ],
)
async def test_a_server_with_another_name_is_refused(gateway, authority, names):
    server = await Server.open(serving(authority.signs("localhost", *names)))
    gateway(f"sip:localhost:{server.port};transport=tls", tls=f'ca = "{authority.ca}"\n{authority.signs("own").keys}', options_s=1)
    assert "certificate" in await server.will_fail()
    assert not server.connected


async def test_a_sip_uri_is_a_name(gateway, authority):
    server = await Server.open(serving(authority.signs("server", "URI:sip:localhost")))
    gateway(f"sip:localhost:{server.port};transport=tls", tls=f'ca = "{authority.ca}"\n{authority.signs("own").keys}', options_s=1)
    peer = await server.will_connect()
    await peer.will_get("OPTIONS")


async def test_an_unknown_authority_is_refused(gateway, authority, tmp_path):
    stranger = Authority(tmp_path / "stranger")
    server = await Server.open(serving(stranger.signs("server", "DNS:localhost")))
    offhook = gateway(f"sip:localhost:{server.port};transport=tls", tls=f'ca = "{authority.ca}"\n{authority.signs("own").keys}', options_s=1)
    assert "unknown ca" in (await server.will_fail()).lower()
    assert not server.connected
    await offhook.will_log(r'TLS to a SIP peer failed server="localhost" error=.*UnknownIssuer')


async def test_a_server_that_wants_to_know_us_is_shown_our_certificate(gateway, authority):
    server = await Server.open(serving(authority.signs("server", "DNS:localhost"), ca=authority.ca))
    own = authority.signs("gateway", "DNS:gw.example")
    gateway(f"sip:localhost:{server.port};transport=tls", tls=f'ca = "{authority.ca}"\n{own.keys}', options_s=1)
    peer = await server.will_connect()
    shown = peer.writer.get_extra_info("peercert")
    assert shown["subjectAltName"] == (("DNS", "gw.example"),)
    await peer.will_get("OPTIONS")


async def test_with_verify_client_only_certified_clients_are_heard(gateway, authority, tmp_path):
    own = authority.signs("gateway", "DNS:localhost")
    offhook = gateway("sip:127.0.0.1:9", tls=f'ca = "{authority.ca}"\nverify_client = true\n{own.keys}')
    known = asking(authority, authority.signs("client", "DNS:client.example"))
    peer = await Stream.open(offhook.sips, tls=known, name="localhost")
    await is_answered(peer)
    peer.close()
    strangers = Authority(tmp_path / "strangers").signs("client", "DNS:client.example")
    for own in (None, strangers):
        # In TLS 1.3 the client hears of its refusal only after its own handshake is done.
        try:
            refused = await Stream.open(offhook.sips, tls=asking(authority, own), name="localhost")
            refused.send(options(refused))
        except (OSError, ssl.SSLError):
            continue
        await asyncio.wait_for(refused.ended.wait(), 20)
        assert refused.seen == []


async def test_peers_that_say_nothing_or_do_not_read_hold_up_nobody(gateway, authority):
    """Fifty that never begin TLS, ten that begin and then do not read; the next one is answered."""
    own = authority.signs("gateway", "DNS:localhost")
    offhook = gateway("sip:127.0.0.1:9", tls=own.keys)
    silent = [await asyncio.open_connection("127.0.0.1", offhook.sips) for _ in range(50)]
    for _, writer in silent[:25]:
        # Half a ClientHello.
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
    deaf = []
    for _ in range(10):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", offhook.sips, ssl=asking(authority), server_hostname="localhost", limit=1024
        )
        writer.transport.pause_reading()
        via = "TLS 127.0.0.1:{}".format(writer.get_extra_info("sockname")[1])
        for _ in range(2000):
            writer.write(request("OPTIONS", f"sip:{OUR_NUMBER}@127.0.0.1", via))
        deaf.append(writer)
    async with asyncio.timeout(20):
        good = await Stream.open(offhook.sips, tls=asking(authority), name="localhost")
        await is_answered(good)
    # The silent ones are sent away.
    reader, _ = silent[0]
    assert await asyncio.wait_for(reader.read(), 30) == b""
    for writer in [*deaf, *(writer for _, writer in silent)]:
        writer.transport.abort()


async def test_certificates_are_read_again_on_sighup(gateway, authority):
    own = authority.signs("gateway", "DNS:localhost")
    offhook = gateway("sip:127.0.0.1:9", tls=own.keys)
    before = await Stream.open(offhook.sips, tls=asking(authority), name="localhost")
    first = before.writer.get_extra_info("peercert")["serialNumber"]
    authority.signs("gateway", "DNS:localhost", "DNS:renewed.example")
    offhook.popen.send_signal(signal.SIGHUP)

    async def renewed() -> str:
        while True:
            peer = await Stream.open(offhook.sips, tls=asking(authority), name="localhost")
            await is_answered(peer)
            serial = peer.writer.get_extra_info("peercert")["serialNumber"]
            peer.close()
            if serial != first:
                return serial
            await asyncio.sleep(0.1)

    await asyncio.wait_for(renewed(), 20)
    # Connections that stand are not cut.
    await is_answered(before)


async def test_a_call_out_and_back_in_by_one_connection(prosody, gateway, authority, tmp_path):
    """RFC 5923: what the peer sends by our connection is heard, and our ACK and BYE go by it too."""
    server = await Server.open(serving(authority.signs("server", "DNS:localhost")))
    own = authority.signs("gateway", "DNS:localhost")
    gateway(f"sip:localhost:{server.port};transport=tls", tls=f'ca = "{authority.ca}"\n{own.keys}')
    dialling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT, "--seconds", 20))
    peer = await server.will_connect()
    invite = await peer.will_get("INVITE")
    assert ";alias" in invite["via"]
    media = ports.free(2)
    contact = f"Contact: <sip:them@127.0.0.1:{server.port};transport=tls>"
    peer.send(invite.answer(200, "OK", contact, body=sdp(media)))
    await peer.will_get("ACK")
    peer.send(bye(invite, peer.via))
    await peer.will_get(200)
    ended = await dialling
    assert ended.json["ended_by"] == "remote", ended.json
    assert not server.connected, "a second connection was opened"
