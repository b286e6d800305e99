"""RFC 3263 against a real DNS server: which server a trunk's requests go to, and which is next."""

import asyncio
import re

import pytest

import ports
from nameserver import Dns
from gateway import CONTACT, dial
from sipwire import Server, Udp, bye, sdp


@pytest.fixture
def dns(tmp_path):
    """Starts a DNS server: `dns("host-record=a.test,127.0.0.1")`."""
    return lambda *lines: Dns(tmp_path / "dns", *lines)


HOST = "host-record=a.carrier.test,127.0.0.1"
def srv(transport: str, port: int, priority: int = 0, weight: int = 0, host: str = "a.carrier.test") -> str:
    return f"srv-host=_sip._{transport}.carrier.test,{host},{port},{priority},{weight}"


def naptr(order: int, service: str, replacement: str) -> str:
    return f"naptr-record=carrier.test,{order},10,s,{service},,{replacement}"


async def test_naptr_chooses_the_transport(gateway, dns):
    """The first service is one that we do not listen for, the second is TCP."""
    server, udp = await Server.open(), await Udp.open()
    names = dns(
        naptr(5, "SIPS+D2T", "_sips._tcp.carrier.test"),
        naptr(10, "SIP+D2T", "_sip._tcp.carrier.test"),
        naptr(20, "SIP+D2U", "_sip._udp.carrier.test"),
        srv("tcp", server.port), srv("udp", udp.port), HOST,
    )
    gateway("sip:carrier.test", sip_keys=names.key, options_s=1)
    peer = await server.will_connect()
    asked = await peer.will_get("OPTIONS")
    assert asked.first.startswith("OPTIONS sip:carrier.test SIP")
    assert not udp.seen


async def test_without_naptr_srv_says_where(gateway, dns):
    peer = await Udp.open()
    names = dns(srv("udp", peer.port), HOST)
    gateway("sip:carrier.test", sip_keys=names.key, options_s=1)
    await peer.will_get("OPTIONS")
    for kind in ("NAPTR", "SRV"):
        assert f"query[{kind}]" in names.log


async def test_an_explicit_port_means_no_srv(gateway, dns):
    peer, other = await Udp.open(), await Udp.open()
    names = dns(srv("udp", other.port), "host-record=carrier.test,127.0.0.1")
    gateway(f"sip:carrier.test:{peer.port};transport=udp", sip_keys=names.key, options_s=1)
    await peer.will_get("OPTIONS")
    assert not other.seen
    assert not re.search(r"query\[(SRV|NAPTR)\]", names.log)


async def test_ipv6_addresses_are_used_by_ipv6_sockets(gateway, dns):
    peer = await Udp.open("::1")
    names = dns(srv("udp", peer.port, host="six.carrier.test"), "host-record=six.carrier.test,::1")
    ours = ports.free()
    offhook = gateway("sip:carrier.test;transport=udp", sip_keys=names.key, options_s=1, listen=[f"udp://[::1]:{ours}"])
    asked = await peer.will_get("OPTIONS")
    assert asked["via"].startswith(f"SIP/2.0/UDP [::1]:{ours};")
    assert asked["contact"] == f"<sip:offhook@[::1]:{ours}>"
    assert offhook.running


async def test_a_host_with_several_addresses_speaks_by_the_one_that_leads_there(gateway):
    """Not by the first that is listed."""
    peer, other = await Udp.open(), ports.free()
    offhook = gateway(f"sip:127.0.0.1:{peer.port}", options_s=1, listen=[f"udp://127.0.0.2:{other}"])
    asked = await peer.will_get("OPTIONS")
    assert asked["via"].startswith(f"SIP/2.0/UDP 127.0.0.1:{offhook.sip};")
    assert asked["contact"] == f"<sip:offhook@127.0.0.1:{offhook.sip}>"


async def is_busy(server: Udp) -> None:
    """Answers the next call with 486."""
    invite = await server.will_get("INVITE")
    server.send(invite.answer(486, "Busy Here"), ("127.0.0.1", int(re.search(r":(\d+);", invite["via"])[1])))


async def refuses(server: Udp, *more: str) -> None:
    """Answers the next call with 503."""
    invite = await server.will_get("INVITE")
    server.send(invite.answer(503, "Overloaded", *more), ("127.0.0.1", int(re.search(r":(\d+);", invite["via"])[1])))


async def test_a_server_that_says_503_comes_last_as_long_as_it_asks(prosody, gateway, dns, tmp_path):
    first, second = await Udp.open(), await Udp.open()
    names = dns(srv("udp", first.port, priority=10), srv("udp", second.port, priority=20), HOST)
    gateway("sip:carrier.test;transport=udp", sip_keys=names.key)
    called, *_ = await asyncio.gather(dial(prosody, tmp_path, CONTACT), refuses(first, "Retry-After: 300"), is_busy(second))
    assert called.json["result"] == "busy", called.json
    first.seen.clear()
    called, _ = await asyncio.gather(dial(prosody, tmp_path, CONTACT), is_busy(second))
    assert called.json["result"] == "busy", called.json
    assert first.seen == [], "a server that asked for 300 s was asked at once"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_server_that_is_not_there_is_passed_over_at_once(prosody, gateway, dns, tmp_path, transport):
    """By ICMP, or by a refused connection: long before any timeout."""
    nobody = ports.free()
    second = await (Udp if transport == "udp" else Server).open()
    names = dns(srv(transport, nobody, priority=10), srv(transport, second.port, priority=20), HOST)
    gateway(f"sip:carrier.test;transport={transport}", sip_keys=names.key)
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    peer = second if transport == "udp" else await second.will_connect(15)
    invite = await peer.will_get("INVITE", 15)
    peer.send(invite.answer(486, "Busy Here"))
    assert (await calling).json["result"] == "busy"


async def test_options_ask_the_next_server_before_the_trunk_is_down(prosody, gateway, dns, tmp_path):
    nobody, second = ports.free(), await Udp.open()
    names = dns(srv("udp", nobody, priority=10), srv("udp", second.port, priority=20), HOST)
    gateway("sip:carrier.test;transport=udp", sip_keys=names.key, options_s=1)
    asked = await second.will_get("OPTIONS")
    second.send(asked.answer(200))
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    await is_busy(second)
    assert (await calling).json["result"] == "busy"


async def test_a_large_request_goes_by_tcp_and_comes_back_to_udp(prosody, gateway, dns, tmp_path):
    """RFC 3261 §18.1.1: above 1300 bytes by TCP; refused there, by UDP after all."""
    peer = await Udp.open()
    names = dns("host-record=carrier.test,127.0.0.1")
    long = "a" * 1200
    gateway(f"sip:carrier.test:{peer.port}", sip_keys=names.key + f'\nuser_agent = "{long}"')
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    invite = await peer.will_get("INVITE")
    assert long in invite["user-agent"]
    peer.send(invite.answer(486, "Busy Here"))
    assert (await calling).json["result"] == "busy"


async def test_a_large_request_goes_by_tcp(prosody, gateway, dns, tmp_path):
    server = await Server.open()
    udp = await Udp.open(port=server.port)
    names = dns("host-record=carrier.test,127.0.0.1")
    gateway(f"sip:carrier.test:{server.port}", sip_keys=names.key + f'\nuser_agent = "{"a" * 1200}"')
    calling = asyncio.ensure_future(dial(prosody, tmp_path, CONTACT))
    peer = await server.will_connect()
    invite = await peer.will_get("INVITE")
    assert invite["via"].startswith("SIP/2.0/TCP")
    contact = f"Contact: <sip:them@127.0.0.1:{server.port};transport=tcp>"
    peer.send(invite.answer(200, "OK", contact, body=sdp(ports.free(2))))
    await peer.will_get("ACK")
    # Pings of RFC 5626 §4.4.1 are answered while the call stands.
    peer.send(b"\r\n\r\n")
    async with asyncio.timeout(20):
        while peer.pongs == 0:
            await asyncio.sleep(0.05)
    peer.send(bye(invite, peer.via))
    await peer.will_get(200)
    assert (await calling).json["ended_by"] == "remote"
    assert not udp.seen


async def test_a_trunk_that_has_no_address_is_down_and_the_log_says_why(gateway, dns, prosody, tmp_path):
    names = dns(HOST)
    offhook = gateway("sip:nowhere.carrier.test:5060;transport=udp", sip_keys=names.key)
    await offhook.will_log(r'trunk is down trunk="carrier" why="nowhere.carrier.test has no address"')
    ended = await dial(prosody, tmp_path, CONTACT)
    assert ended.status == 1
    await offhook.will_log("call ended.*nowhere.carrier.test has no address")
