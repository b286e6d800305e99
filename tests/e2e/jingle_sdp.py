"""SDP <-> Jingle: XEP-0166, 0167, 0176, 0293, 0294, 0320, 0338, 0339."""

import xml.etree.ElementTree as ET

JINGLE = "urn:xmpp:jingle:1"
RTP = "urn:xmpp:jingle:apps:rtp:1"
ICE = "urn:xmpp:jingle:transports:ice-udp:1"
DTLS = "urn:xmpp:jingle:apps:dtls:0"
GROUP = "urn:xmpp:jingle:apps:grouping:0"
HDREXT = "urn:xmpp:jingle:apps:rtp:rtp-hdrext:0"
SSMA = "urn:xmpp:jingle:apps:rtp:ssma:0"
FEEDBACK = "urn:xmpp:jingle:apps:rtp:rtcp-fb:0"

# What libwebrtc's clients offer for keys; the media stack below has no notion of it.
TELEPHONE_EVENTS = {"110": "48000", "126": "8000"}


def tag(namespace: str, name: str) -> str:
    return f"{{{namespace}}}{name}"


def _attributes(sdp: str, name: str) -> list[str]:
    lines = (line.strip() for line in sdp.splitlines())
    return [line.split(":", 1)[1] for line in lines if line.startswith(f"a={name}:")]


def candidate_to_xml(text: str) -> ET.Element:
    """`1 1 udp 2130706431 127.0.0.1 4000 typ host` as an element."""
    words = text.split()
    element = ET.Element(tag(ICE, "candidate"))
    foundation = words[0] if words[0].isdigit() else str(int(words[0], 36) % 1000)
    for key, value in {
        "foundation": foundation,
        "component": words[1],
        "protocol": words[2].lower(),
        "priority": words[3],
        "ip": words[4],
        "port": words[5],
        "type": words[7],
        "generation": "0",
        "network": "0",
        "id": f"c{foundation}{words[5]}",
    }.items():
        element.set(key, value)
    return element


def candidate_to_sdp(element: ET.Element) -> str:
    get = element.get
    return (
        f"{get('foundation')} {get('component')} {get('protocol')} {get('priority')} "
        f"{get('ip')} {get('port')} typ {get('type')}"
    )


def sections(sdp: str) -> list[str]:
    """The media sections of an SDP."""
    return ["m=" + part for part in sdp.replace("\r\n", "\n").split("\nm=")[1:]]


def to_jingle(sdp: str, jingle: ET.Element, names: list[str], events: dict[str, str], trickle: bool, bundle: bool = True) -> list:
    """Fills `jingle` with the contents of `sdp` under `names`; returns the name, the transport and the candidates left out of each."""
    if bundle:
        group = ET.SubElement(jingle, tag(GROUP, "group"), semantics="BUNDLE")
        for name in names:
            ET.SubElement(group, tag(GROUP, "content"), name=name)
    pairs = zip(sections(sdp), names, strict=True)
    return [_content(part, jingle, name, events, trickle) for part, name in pairs]


def _content(sdp: str, jingle: ET.Element, name: str, events: dict[str, str], trickle: bool) -> tuple:
    media = sdp[2:].split(" ", 1)[0]
    content = ET.SubElement(jingle, tag(JINGLE, "content"), creator="initiator", name=name)
    description = ET.SubElement(content, tag(RTP, "description"), media=media)
    formats = dict(line.split(" ", 1) for line in _attributes(sdp, "fmtp"))
    for line in _attributes(sdp, "rtpmap"):
        number, codec = line.split(" ", 1)
        encoding, clock, *channels = codec.split("/")
        payload = ET.SubElement(
            description, tag(RTP, "payload-type"), id=number, name=encoding, clockrate=clock
        )
        if channels and channels[0] != "1":
            payload.set("channels", channels[0])
        for parameter in filter(None, formats.get(number, "").split(";")):
            key, _, value = parameter.partition("=")
            ET.SubElement(payload, tag(RTP, "parameter"), name=key.strip(), value=value)
        for feedback in _attributes(sdp, "rtcp-fb"):
            if feedback.split(" ")[0] == number:
                kind, _, subtype = feedback.partition(" ")[2].partition(" ")
                ET.SubElement(payload, tag(FEEDBACK, "rtcp-fb"), {"type": kind, **({"subtype": subtype} if subtype else {})})
    for number, clock in events.items() if media == "audio" else ():
        ET.SubElement(
            description, tag(RTP, "payload-type"), id=number, name="telephone-event", clockrate=clock
        )
    for line in _attributes(sdp, "extmap"):
        number, uri = line.split(" ", 1)
        ET.SubElement(description, tag(HDREXT, "rtp-hdrext"), id=number.split("/")[0], uri=uri)
    for line in _attributes(sdp, "ssrc"):
        ssrc, parameter = line.split(" ", 1)
        if parameter.startswith("cname:"):
            source = ET.SubElement(description, tag(SSMA, "source"), ssrc=ssrc)
            ET.SubElement(source, tag(SSMA, "parameter"), name="cname", value=parameter[6:])
    ET.SubElement(description, tag(RTP, "rtcp-mux"))
    transport = ET.SubElement(
        content,
        tag(ICE, "transport"),
        ufrag=_attributes(sdp, "ice-ufrag")[0],
        pwd=_attributes(sdp, "ice-pwd")[0],
    )
    prints = dict(line.split(" ", 1) for line in _attributes(sdp, "fingerprint"))
    fingerprint = ET.SubElement(
        transport, tag(DTLS, "fingerprint"), hash="sha-256", setup=_attributes(sdp, "setup")[0]
    )
    fingerprint.text = prints["sha-256"]
    candidates = [candidate_to_xml(line) for line in _attributes(sdp, "candidate")]
    if not trickle:
        transport.extend(candidates)
    return name, transport, candidates if trickle else []


def telephone_events(jingle: ET.Element) -> dict[int, int]:
    """Payload number -> clock of every telephone-event in the description."""
    return {
        int(payload.get("id")): int(payload.get("clockrate"))
        for payload in jingle.iter(tag(RTP, "payload-type"))
        if payload.get("name") == "telephone-event"
    }


def to_sdp(jingle: ET.Element) -> str:
    """The contents of `jingle` as SDP; telephone-event is left out."""
    contents = jingle.findall(tag(JINGLE, "content"))
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    if jingle.find(tag(GROUP, "group")) is not None:
        lines.append(f"a=group:BUNDLE {' '.join(content.get('name') for content in contents)}")
    for content in contents:
        lines += _section(content)
    return "\r\n".join(lines) + "\r\n"


def _section(content: ET.Element) -> list[str]:
    description = content.find(tag(RTP, "description"))
    transport = content.find(tag(ICE, "transport"))
    fingerprint = transport.find(tag(DTLS, "fingerprint"))
    name, media = content.get("name"), description.get("media")
    payloads = [
        p for p in description.iter(tag(RTP, "payload-type")) if p.get("name") != "telephone-event"
    ]
    numbers = " ".join(p.get("id") for p in payloads)
    lines = [f"m={media} 9 UDP/TLS/RTP/SAVPF {numbers}", "c=IN IP4 0.0.0.0", f"a=mid:{name}", "a=sendrecv"]
    if description.find(tag(RTP, "rtcp-mux")) is not None:
        lines.append("a=rtcp-mux")
    for payload in payloads:
        number, channels = payload.get("id"), payload.get("channels", "1")
        codec = f"{payload.get('name')}/{payload.get('clockrate')}"
        lines.append(f"a=rtpmap:{number} {codec}" + (f"/{channels}" if channels != "1" else ""))
        parameters = [
            f"{p.get('name')}={p.get('value')}" for p in payload.iter(tag(RTP, "parameter"))
        ]
        if parameters:
            lines.append(f"a=fmtp:{number} {';'.join(parameters)}")
        for feedback in payload.iter(tag(FEEDBACK, "rtcp-fb")):
            lines.append(f"a=rtcp-fb:{number} {feedback.get('type')} {feedback.get('subtype', '')}".rstrip())
    for extension in description.iter(tag(HDREXT, "rtp-hdrext")):
        lines.append(f"a=extmap:{extension.get('id')} {extension.get('uri')}")
    lines += [
        f"a=ice-ufrag:{transport.get('ufrag')}",
        f"a=ice-pwd:{transport.get('pwd')}",
        f"a=fingerprint:{fingerprint.get('hash')} {fingerprint.text.strip()}",
        f"a=setup:{fingerprint.get('setup')}",
    ]
    for candidate in transport.iter(tag(ICE, "candidate")):
        lines.append(f"a=candidate:{candidate_to_sdp(candidate)}")
    return lines
