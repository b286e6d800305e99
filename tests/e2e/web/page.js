// Runs in the browser: one XMPP user on StanzaJS with Chromium's own WebRTC.
//
// StanzaJS knows no message initiation that others understand (its namespace for it is not the one on
// the wire), so XEP-0353 is taught to it here. Everything else is as an application would do it.
import { createClient } from "stanza";
import { attribute, createElement } from "stanza/jxt";

const MESSAGE = "urn:xmpp:jingle-message:0";
const JINGLE = "urn:xmpp:jingle:1";
const RTP = "urn:xmpp:jingle:apps:rtp:1";
const STEPS = ["propose", "ringing", "proceed", "retract", "reject", "finish"];
const RATE = 48000;

// What the test is told: `say` is put into the page by the driver.
const note = (what, sid, sender, more = {}) => say({ what, sid, sender, ...more });

// --- XEP-0353 ---

const reason = {
  importer: (xml) =>
    xml.getChild("reason", JINGLE)?.children.find((child) => child.name && child.name !== "text")?.name,
  exporter(xml, value) {
    const element = createElement(JINGLE, "reason", MESSAGE);
    element.appendChild(createElement(JINGLE, value, JINGLE));
    xml.appendChild(element);
  },
};
const media = {
  importer: (xml) => xml.getChildren("description", RTP).map((element) => element.getAttribute("media")),
  exporter(xml, values) {
    for (const value of values) {
      const element = createElement(RTP, "description", MESSAGE);
      element.setAttribute("media", value);
      xml.appendChild(element);
    }
  },
};
const definitions = STEPS.map((step) => ({
  element: step,
  namespace: MESSAGE,
  path: `message.${step}`,
  fields: { id: attribute("id"), reason, media },
}));

// --- the user ---

let client;
const calls = new Map(); // sid -> { session, pc, tone, ear, … }

function initiate(to, step, sid, more = {}) {
  client.sendMessage({ to, type: "chat", [step]: { id: sid, ...more }, processingHints: { store: true } });
}

function call(sid) {
  if (!calls.has(sid)) calls.set(sid, { chunks: [] });
  return calls.get(sid);
}

async function logIn({ jid, password, url, messageInitiation, video }) {
  client = createClient({
    jid,
    password,
    autoReconnect: false,
    transports: { websocket: url, bosh: false },
    jingle: { iceServers: [], advertiseVideo: video, advertiseFileTransfer: false },
  });
  client.stanzas.define(definitions);
  if (messageInitiation) client.disco.addFeature(MESSAGE);
  client.on("message", (message) => {
    for (const step of STEPS)
      if (message[step]) {
        if (step === "proceed") call(message[step].id).proceeded ??= performance.now();
        note(message.type === "error" ? "message-error" : step, message[step].id, message.from, {
          reason: message[step].reason ?? "",
        });
      }
  });
  client.on("presence", (presence) => note("presence", "", presence.from, { kind: presence.type ?? "available" }));
  client.on("jingle:incoming", (session) => {
    call(session.sid).session = session;
    note("session-initiate", session.sid, session.peerID);
  });
  client.on("jingle:accepted", (session) => note("session-accept", session.sid, session.peerID));
  client.on("jingle:terminated", (session, why) =>
    note("session-terminate", session.sid, session.peerID, { reason: why?.condition ?? why ?? "" }),
  );
  for (const info of ["ringing", "hold", "resumed", "mute", "unmute"])
    client.on(`jingle:${info}`, (session) => note(`info-${info}`, session.sid, session.peerID));
  client.jingle.on("peerTrackAdded", (session, track) => listen(call(session.sid), track));
  client.on("raw:incoming", (text) => say({ trace: `< ${text}` }));
  client.on("raw:outgoing", (text) => say({ trace: `> ${text}` }));
  await new Promise((resolve, reject) => {
    client.on("session:started", resolve);
    client.on("--transport-disconnected", () => reject(new Error("disconnected before the login was done")));
    client.on("auth:failed", () => reject(new Error("the password was refused")));
    client.connect();
  });
  // Only the presence that comes back says that the server now routes to this client.
  const shown = new Promise((resolve) =>
    client.on("presence", (presence) => presence.from === client.jid && resolve()),
  );
  client.updateCaps();
  client.sendPresence({ legacyCapabilities: client.getCurrentCaps().legacyCapabilities });
  await shown;
  return client.jid;
}

async function logOut() {
  const gone = new Promise((resolve) => client.on("disconnected", resolve));
  client.disconnect();
  await gone;
}

function showTo({ to }) {
  client.sendPresence({ to, legacyCapabilities: client.getCurrentCaps().legacyCapabilities });
}

// --- sound ---

let context;

// A promise and not the context: who comes second must wait for the worklet as well.
const sound = () => (context ??= open());

async function open() {
  const context = new AudioContext({ sampleRate: RATE });
  const worklet = `registerProcessor("ear", class extends AudioWorkletProcessor {
    process([[samples]]) { if (samples) this.port.postMessage(samples); return true; }
  });`;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([worklet], { type: "text/javascript" })));
  await context.resume();
  return context;
}

async function tone(hz) {
  const context = await sound();
  const oscillator = new OscillatorNode(context, { frequency: hz });
  const gain = new GainNode(context, { gain: 0.25 });
  const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
  oscillator.connect(gain).connect(out);
  oscillator.start();
  return out.stream;
}

async function listen(call, track) {
  if (track.kind === "video") {
    // Nothing is decoded that nobody watches.
    call.screen = document.createElement("video");
    call.screen.muted = true;
    call.screen.srcObject = new MediaStream([track]);
    document.body.append(call.screen);
    return call.screen.play();
  }
  // The first packet unmutes it.
  track.addEventListener("unmute", () => (call.unmuted ??= performance.now()));
  const stream = new MediaStream([track]);
  // Without an element that plays it, Chromium does not decode a remote track at all.
  call.element = new Audio();
  call.element.srcObject = stream;
  await call.element.play();
  const context = await sound();
  const ear = new AudioWorkletNode(context, "ear", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
  ear.port.onmessage = ({ data }) => call.chunks.push(data);
  new MediaStreamAudioSourceNode(context, { mediaStream: stream }).connect(ear);
}

// --- calls ---

function propose({ to, sid, video }) {
  initiate(to, "propose", sid, { media: video ? ["audio", "video"] : ["audio"] });
}

function step({ to, sid, step, reason }) {
  initiate(to, step, sid, reason ? { reason } : {});
}

/// A picture that changes.
function picture() {
  const canvas = document.createElement("canvas");
  const pen = canvas.getContext("2d");
  let at = 0;
  setInterval(() => {
    pen.fillStyle = `hsl(${(at += 7)} 80% 50%)`;
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }, 100);
  return canvas.captureStream(10).getVideoTracks()[0];
}

async function start({ to, sid, hz, video, codec }) {
  const mine = call(sid);
  const stream = await tone(hz);
  if (video) stream.addTrack(picture());
  mine.session = client.jingle.createMediaSession(to, sid, stream);
  if (codec) {
    const known = RTCRtpReceiver.getCapabilities("video").codecs;
    const shown = () => mine.session.pc.getTransceivers().find(({ sender }) => sender.track?.kind === "video");
    // StanzaJS adds the tracks one after the other.
    while (!shown()) await new Promise((resolve) => setTimeout(resolve, 10));
    shown().setCodecPreferences(known.filter(({ mimeType }) => mimeType === `video/${codec}`));
  }
  await mine.session.start();
}

async function accept({ sid, hz, video }) {
  const mine = call(sid);
  // The gateway may have said that it rings before StanzaJS has its session; who asked has a time limit.
  while (!mine.session) await new Promise((resolve) => setTimeout(resolve, 20));
  const { session } = mine;
  const stream = await tone(hz);
  await session.addTrack(stream.getAudioTracks()[0], stream);
  if (video) await session.addTrack(picture(), stream);
  await session.accept();
}

async function connected({ sid }) {
  const { pc } = call(sid).session;
  if (pc.connectionState === "connected") return;
  await new Promise((resolve, reject) => {
    pc.addEventListener("connectionstatechange", () => {
      if (pc.connectionState === "connected") resolve();
      if (pc.connectionState === "failed") reject(new Error("ICE or DTLS failed"));
    });
  });
}

function end({ sid, reason }) {
  call(sid).session.end(reason);
}

async function hold({ sid, held }) {
  await (held ? call(sid).session.hold() : call(sid).session.resume());
}

async function mute({ sid, muted }) {
  const { session } = call(sid);
  await (muted ? session.mute("initiator", "0") : session.unmute("initiator", "0"));
}

async function restartIce({ sid }) {
  await call(sid).session.restartIce();
}

async function press({ sid, keys }) {
  const { dtmf } = call(sid).session.pc.getSenders().find((sender) => sender.dtmf?.canInsertDTMF);
  const done = new Promise((resolve) =>
    dtmf.addEventListener("tonechange", ({ tone }) => tone === "" && resolve()),
  );
  dtmf.insertDTMF(keys, 100, 70);
  await done;
}

/// Milliseconds from `proceed` to the first packet of sound.
function firstWord({ sid }) {
  const { proceeded, unmuted } = call(sid);
  return unmuted === undefined ? null : unmuted - proceeded;
}

function fresh({ sid }) {
  call(sid).chunks.length = 0;
}

/// What was heard since `fresh`, as 16-bit samples in base64.
function heard({ sid }) {
  const { chunks } = call(sid);
  const samples = Int16Array.from(
    chunks.flatMap((chunk) => [...chunk]),
    (sample) => Math.max(-1, Math.min(1, sample)) * 32767,
  );
  const bytes = new Uint8Array(samples.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return { rate: RATE, samples: btoa(text) };
}

/// The numbers of getStats that a test looks at.
async function stats({ sid }) {
  const found = {};
  const report = [...(await call(sid).session.pc.getStats()).values()];
  const codecs = Object.fromEntries(report.filter((r) => r.type === "codec").map((r) => [r.id, r.mimeType]));
  for (const entry of report) {
    if (entry.type === "transport") found.pair = entry.selectedCandidatePairId;
    if (entry.type === "local-candidate") (found.locals ??= {})[entry.id] = entry.address;
    if (entry.type === "candidate-pair") (found.pairs ??= {})[entry.id] = entry.localCandidateId;
    if (entry.kind !== "audio") continue;
    if (entry.type === "inbound-rtp")
      Object.assign(found, {
        codec: codecs[entry.codecId]?.split("/")[1],
        received: entry.packetsReceived,
        lost: entry.packetsLost,
        concealed: entry.concealedSamples,
        jitter: entry.jitter,
        samples: entry.totalSamplesReceived,
        energy: entry.totalAudioEnergy,
      });
    if (entry.type === "outbound-rtp") found.sent = entry.packetsSent;
    // What the other side reports of us by RTCP.
    if (entry.type === "remote-inbound-rtp") Object.assign(found, { remoteLost: entry.packetsLost, roundTrip: entry.roundTripTime });
  }
  found.local = found.locals?.[found.pairs?.[found.pair]];
  return found;
}

/// What getStats says of pictures.
async function videoStats({ sid }) {
  const found = {};
  const report = [...(await call(sid).session.pc.getStats()).values()];
  const codecs = Object.fromEntries(report.filter((r) => r.type === "codec").map((r) => [r.id, r.mimeType]));
  for (const entry of report) {
    if (entry.kind !== "video") continue;
    if (entry.type === "inbound-rtp")
      Object.assign(found, {
        codec: codecs[entry.codecId]?.split("/")[1],
        decoded: entry.framesDecoded,
        keyFrames: entry.keyFramesDecoded,
        received: entry.packetsReceived,
        asks: entry.pliCount + entry.firCount,
        width: entry.frameWidth,
      });
    if (entry.type === "outbound-rtp")
      Object.assign(found, { encoded: entry.framesEncoded, encodedKeys: entry.keyFramesEncoded, asked: entry.pliCount + entry.firCount });
  }
  return found;
}

globalThis.user = {
  logIn, logOut, showTo, propose, step, start, accept, connected, end, hold, mute, restartIce, press, firstWord, fresh, heard, stats, videoStats,
};
