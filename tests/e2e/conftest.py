"""Fixtures: each test has peers of its own, in its own folder, on its own ports."""

import asyncio
import contextlib
import inspect

import pytest

import network
from baresip import Baresip
from browser import Browser
from client import Client
from ejabberd import Ejabberd
from forwarder import Forwarder
from gateway import NUMBER, OUR_NUMBER, Echo, Gateway
from process import Process
from prosody import USERS, Prosody
from sipp import Sipp

# No test may hang the run.
LIMIT_S = 60


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Runs `async def` tests."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}

    async def limited():
        await asyncio.wait_for(pyfuncitem.obj(**arguments), LIMIT_S)

    asyncio.run(limited())
    return True


@pytest.fixture(autouse=True)
def nothing_stays():
    """No process outlives its test, however that ends."""
    yield
    while Process.launched:
        Process.launched.pop().stop()


@pytest.fixture
def lossy_network():
    """A network of the test's own: `lossy_network(5)` loses 5 % of UDP, `lossy_network(5, 5060)` of one port. First in a test's arguments, so
    that all peers are in it."""
    with network.own():
        yield network.lose


@pytest.fixture
def own_network():
    """A network of the test's own, as `lossy_network`; its tools are those of network.py."""
    with network.own():
        yield network


@pytest.fixture
def prosody(tmp_path, request):
    """A running server: Prosody, with `nagle=True` by indirect parameter one that holds small packets back, or by the
    parameter "ejabberd" that one."""
    option = getattr(request, "param", {})
    if option == "ejabberd":
        server = Ejabberd(tmp_path / "ejabberd")
    else:
        server = Prosody(tmp_path / "prosody", **(option if isinstance(option, dict) else {}))
    yield server
    server.stop()


@pytest.fixture
def forwarder(tmp_path):
    """Puts a network that jitters before a gateway: `forwarder(offhook, 50)`."""
    started = []

    def start(offhook, milliseconds):
        started.append(Forwarder(tmp_path / "forwarder", offhook.media_ports, milliseconds))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def phone(tmp_path):
    """Starts baresips: `phone(codecs=["PCMU"], answer="auto")`.

    A baresip takes only calls for its own user part, so by default that is the number we call."""
    started = []

    def start(**options):
        options.setdefault("user", NUMBER)
        started.append(Baresip(tmp_path / f"phone{len(started)}", **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def sipp(tmp_path):
    """Starts SIPps: `sipp("fails", code=486, text="Busy Here")`."""
    started = []

    def start(scenario, **options):
        started.append(Sipp(tmp_path / f"sipp{len(started)}", scenario, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


@pytest.fixture
def gateway(tmp_path, prosody):
    """Starts the gateway: `gateway("sip:127.0.0.1:5070")`; at the end it must stop clean."""
    started = []

    def start(trunk, **options):
        name = f"gateway{len(started) or ''}"
        started.append(Gateway(tmp_path / name, prosody, trunk, **options))
        return started[-1]

    yield start
    try:
        for one in started:
            one.check_end()
    finally:
        for one in started:
            one.stop()


@pytest.fixture
def echo(tmp_path):
    endpoint = Echo(tmp_path / "echo")
    yield endpoint
    endpoint.stop()


@pytest.fixture
def incoming(gateway, phone, alice):
    """A phone that calls Alice: `async with incoming() as (offhook, caller, call):`, and she has only heard of it."""

    @contextlib.asynccontextmanager
    async def begin(**options):
        async with phone(hz=660) as caller, alice:
            offhook = gateway(f"sip:127.0.0.1:{caller.sip}", **options)
            await caller.command("dial", f"sip:{OUR_NUMBER}@127.0.0.1:{offhook.sip}")
            yield offhook, caller, await alice.will_be_called(hz=440)

    return begin


@pytest.fixture
def alice(prosody):
    """A client that is not yet logged in: `async with alice:`."""
    return Client(prosody.c2s, "alice", USERS["alice"])


@pytest.fixture
def chromium(prosody, tmp_path):
    """Makes browsers that are not yet started: `async with chromium() as alice:`."""

    def make(user="alice", **options):
        return Browser(tmp_path / f"browser-{user}", prosody.websocket, user, USERS[user], **options)

    return make
