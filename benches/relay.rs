//! The media worker as a relay between SDES-SRTP and RTP, beside rtpengine under the same load.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use offhook::border::{MediaCommand, RtpKeys, RtpSide, Side, SideSpec, SideTransport};
use offhook::config::{MediaConfig, Transcode};
use offhook::description::Crypto;
use offhook::id::{BridgeId, TokenMaker, WorkerId};
use offhook::io::media::Workers;
use offhook::media::TAIL_ROOM;
use offhook::media::srtp::{MasterKey, Protect, Unprotect};

use crate::rtpengine::Rtpengine;
use crate::sound::{Ends, Stream, crypto, pcmu, rtp, user_key};
use crate::table::{Table, short};
use crate::{Failure, machine};

/// The first argument of the child that relays.
pub const WORKER: &str = "relay-worker";

const FRAME: Duration = Duration::from_millis(20);
const WARM_UP: Duration = Duration::from_secs(1);
const MEASURED: Duration = Duration::from_secs(5);
/// How long the last packets may be on their way.
const ON_THE_WAY: Duration = Duration::from_millis(100);
const ROUNDS: usize = 2;
const FIRST_PORT: u16 = 30_000;

#[derive(Default)]
struct Sum {
    cpu: Duration,
    sent: u64,
    received: u64,
    delays: Vec<u32>,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.cpu += other.cpu;
        self.sent += other.sent;
        self.received += other.received;
        self.delays.extend(other.delays);
    }

    fn per_packet(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.received.max(1) as f64
    }

    fn quantile(&mut self, q: f64) -> u32 {
        self.delays.sort_unstable();
        let at = (self.delays.len() as f64 * q) as usize;
        self.delays.get(at).copied().unwrap_or_default()
    }

    fn words(&mut self) -> String {
        format!(
            "{} µs/packet; p50 {} µs, p99 {} µs; lost {} of {}",
            short(self.per_packet()),
            self.quantile(0.5),
            self.quantile(0.99),
            self.sent - self.received.min(self.sent),
            self.sent
        )
    }
}

/// Both relays in turns, at two sizes.
pub fn compare(_offhook: &Path, table: &mut Table) -> Result<(), Failure> {
    for count in [100, 300] {
        let (mut ours, mut theirs) = (Sum::default(), Sum::default());
        for _ in 0..ROUNDS {
            let ends = Ends::new()?;
            let worker = Worker::start(count, &ends)?;
            ours.add(drive(worker.child.id(), worker.streams(count), &ends)?);
            drop(worker);
            let ends = Ends::new()?;
            let rtpengine = Rtpengine::start()?;
            let streams = rtpengine.streams(count, &ends)?;
            theirs.add(drive(rtpengine.pid(), streams, &ends)?);
        }
        let what = format!("SRTP↔RTP relay, {count} streams of 20 ms");
        let ratio = ours.per_packet() / theirs.per_packet();
        table.at_most(
            &format!("{what}: CPU a packet, offhook / rtpengine"),
            ratio,
            0.5,
            "",
        );
        table.note(&format!("{what}: offhook"), ours.words());
        table.note(&format!("{what}: rtpengine"), theirs.words());
    }
    Ok(())
}

struct Worker {
    child: Child,
}

impl Worker {
    fn start(count: usize, ends: &Ends) -> Result<Self, Failure> {
        let child = machine::on_last_processor(&std::env::current_exe()?)
            .args([WORKER, &count.to_string()])
            .arg(ends.protected.local_addr()?.to_string())
            .arg(ends.plain.local_addr()?.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut worker = Self { child };
        let out = worker.child.stdout.take().ok_or("no stdout")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.trim() != "ready" {
            return Err("the relay does not start".into());
        }
        Ok(worker)
    }

    fn streams(&self, count: usize) -> Vec<Stream> {
        (0..count)
            .map(|n| {
                let [protected, plain] = ports(n).map(|p| SocketAddr::from(([127, 0, 0, 1], p)));
                Stream {
                    protected,
                    plain,
                    key: relay_key(),
                }
            })
            .collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn relay_key() -> Crypto {
    crypto("inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj")
}

fn ports(n: usize) -> [u16; 2] {
    let first = FIRST_PORT + 4 * n as u16;
    [first, first + 2]
}

/// The child: one media thread and its bridges.
pub fn work(arguments: Vec<String>) -> Result<(), Failure> {
    let [count, protected, plain] = &arguments[..] else {
        return Err("not for people".into());
    };
    let (user, phone) = (protected.parse()?, plain.parse()?);
    let config = MediaConfig {
        bind: [127, 0, 0, 1].into(),
        advertise: None,
        xmpp_port: 0,
        rtp_ports: 30_000..=39_999,
        threads: 1,
        transcode: Transcode::WhenNeeded,
    };
    let (workers, _events) = Workers::start(&config, TokenMaker::new([3; 32]))?;
    for n in 0..count.parse::<usize>()? {
        let [protected, plain] = ports(n);
        let keys = RtpKeys::Sdes {
            local: relay_key(),
            remote: user_key(),
        };
        for (side, port, remote, keys) in [
            (Side::Caller, protected, user, keys),
            (Side::Callee, plain, phone, RtpKeys::None),
        ] {
            let spec = SideSpec {
                transport: SideTransport::Rtp(RtpSide {
                    bind: config.bind,
                    port,
                    remote: Some(remote),
                    remote_rtcp: None,
                    rtcp_mux: false,
                    symmetric: true,
                    keys,
                }),
                format: Some(pcmu()),
                send: true,
                receive: true,
                silence_limit: None,
            };
            let command = MediaCommand::Configure {
                bridge: BridgeId(n as u64),
                side,
                spec: Box::new(spec),
            };
            workers.command(WorkerId(0), command);
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    println!("ready");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Sends what a number of calls would, spread evenly over the 20 ms, and takes what comes.
fn drive(pid: u32, streams: Vec<Stream>, ends: &Ends) -> Result<Sum, Failure> {
    let count = streams.len() as u64;
    let mut protects = Vec::new();
    let mut by_address = HashMap::new();
    for (n, stream) in streams.iter().enumerate() {
        protects.push(Protect::new(&MasterKey::from_sdes(&user_key())?));
        let key = MasterKey::from_sdes(&stream.key)?;
        by_address.insert(stream.protected, (n, Unprotect::new(&key)));
    }
    let start = Instant::now();
    // CPU time when measuring began and when it ended.
    let (mut began, mut ended) = (None, None);
    let mut sum = Sum::default();
    let mut step = 0u64;
    let mut buffer = [0; 2048];
    loop {
        let now = start.elapsed();
        if began.is_none() && now >= WARM_UP {
            began = Some(machine::cpu(pid)?);
        }
        if ended.is_none() && now >= WARM_UP + MEASURED {
            ended = Some(machine::cpu(pid)?);
        }
        if now >= WARM_UP + MEASURED + ON_THE_WAY {
            break;
        }
        let due = FRAME.mul_f64(step as f64 / count as f64);
        if now >= due && ended.is_none() {
            let n = (step % count) as usize;
            let frame = (step / count) as u16;
            step += 1;
            let mut payload = [0x55; 160];
            payload[..8].copy_from_slice(&(now.as_nanos() as u64).to_be_bytes());
            let packet = rtp(frame, n as u32 + 1, &payload);
            ends.plain.send_to(&packet, streams[n].plain)?;
            buffer[..packet.len()].copy_from_slice(&packet);
            let room = &mut buffer[..packet.len() + TAIL_ROOM];
            let length = protects[n].rtp(room, packet.len())?;
            ends.protected
                .send_to(&buffer[..length], streams[n].protected)?;
            if began.is_some() {
                sum.sent += 2;
            }
        }
        while let Some((length, _)) = receive(&ends.plain, &mut buffer)? {
            note(&mut sum, start, &buffer[..length]);
        }
        while let Some((length, from)) = receive(&ends.protected, &mut buffer)? {
            let Some((_, unprotect)) = by_address.get_mut(&from) else {
                continue;
            };
            if let Ok(length) = unprotect.rtp(&mut buffer[..length]) {
                note(&mut sum, start, &buffer[..length]);
            }
        }
    }
    let (began, ended) = began.zip(ended).ok_or("nothing was measured")?;
    sum.cpu = ended - began;
    Ok(sum)
}

fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<(usize, SocketAddr)>, Failure> {
    match socket.recv_from(buffer) {
        Ok(received) => Ok(Some(received)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Counts a packet that was sent while measuring.
fn note(sum: &mut Sum, start: Instant, packet: &[u8]) {
    if packet.len() != 172 {
        return;
    }
    let mut sent = [0; 8];
    sent.copy_from_slice(&packet[12..20]);
    let sent = Duration::from_nanos(u64::from_be_bytes(sent));
    if sent < WARM_UP {
        return;
    }
    let delay = start.elapsed().saturating_sub(sent);
    sum.received += 1;
    sum.delays.push(delay.as_micros() as u32);
}
