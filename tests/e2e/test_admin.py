"""What the operator sees by HTTP, read by Prometheus' own parser."""

import asyncio
import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.openmetrics import parser

import ports
from gateway import CONTACT, NUMBER


def get(port: int, path: str, method: str = "GET") -> tuple[int, str, str]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.headers["Content-Type"], refused.read().decode()


def samples(port: int) -> dict[tuple, float]:
    status, kind, text = get(port, "/metrics")
    assert status == 200 and kind.startswith("application/openmetrics-text")
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found[(sample.name, *sorted(sample.labels.items()))] = sample.value
    return found


async def until(met, limit: float = 20) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + limit
    while not met():
        assert loop.time() < end, "it did not happen"
        await asyncio.sleep(0.1)


@pytest.fixture
def window(gateway):
    """Starts a gateway with `[admin]`, and gives its port."""

    def start(trunk: str = "sip:127.0.0.1:9") -> int:
        port = ports.free()
        gateway(trunk, more=f'\n[admin]\nlisten = "127.0.0.1:{port}"\n')
        return port

    return start


async def test_metrics_of_a_call(window, phone, alice):
    async with phone(answer="auto") as callee, alice:
        port = window(f"sip:127.0.0.1:{callee.sip}")
        before = samples(port)
        assert before[("offhook_link_up", ("link", "xmpp"))] == 1
        assert before[("offhook_trunk_up", ("trunk", "carrier"))] == 1
        assert before[("offhook_calls",)] == 0
        call = await alice.call(CONTACT).establish()
        assert samples(port)[("offhook_calls",)] == 1
        await call.hang_up()
        labels = [("direction", "out"), ("ended_by", "caller"), ("reason", "hangup"), ("trunk", "carrier")]
        await until(lambda: samples(port).get(("offhook_calls_ended_total", *labels)) == 1)
        after = samples(port)
        assert after[("offhook_calls",)] == 0
        assert after[("offhook_call_answered_after_seconds_count", ("direction", "out"))] == 1
        status, kind, page = get(port, "/")
        assert status == 200 and kind.startswith("text/html")
        assert "hangup" in page and NUMBER not in page and "alice" not in page


async def test_ready_follows_the_link(window, prosody):
    port = window()
    assert get(port, "/ready")[0] == 200
    prosody.stop()
    await until(lambda: get(port, "/ready")[0] == 503)
    assert "xmpp" in get(port, "/ready")[2]
    assert get(port, "/health")[0] == 200


async def test_whatever_is_asked_gets_an_answer(window):
    port = window()
    assert get(port, "/nowhere")[0] == 404
    assert get(port, "/metrics", "POST")[0] == 405
    # Those who say nothing, or nonsense, hold up nobody else.
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
    for connection in idle[:4]:
        connection.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
    assert get(port, "/health")[0] == 200
    for connection in idle:
        connection.close()
