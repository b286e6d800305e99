//! `offhook run`: builds everything, then one loop that owns the gateway.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::admin::{Admin, Question, View};
use super::component::{Link, LinkEvent};
use super::media::Workers;
use super::sip::SipNet;
use super::store::{Heard, Store};
use crate::address::country;
use crate::border::MediaEvent;
use crate::call::{MediaFacts, WorkerFacts};
use crate::config::{Config, Meaning, MixConfig, RouteConfig, SipConfig, TrunkConfig, XmppConfig};
use crate::gateway::{Gateway, Input, Output};
use crate::id::{TokenMaker, WorkerId};
use crate::net::SipTransport;
use crate::observe::ladder::Ladder;

/// Inputs taken in a row before other tasks have a turn.
const INPUTS_A_TURN: usize = 64;
/// Deadlines are served together, at most once in so long: a wake-up for each would cost more than
/// what is done then. The shortest one is SIP's first repetition, after 500 ms.
const TICK: Duration = Duration::from_millis(10);
/// The media threads are woken at most once in so long: commands that come sooner after the last time
/// wait for each other.
const MEDIA_PAUSE: Duration = Duration::from_millis(5);
/// How long running calls may go on after SIGTERM: all but the end of `TimeoutStopSec` in
/// `conf/offhook.service`, after which nobody is told that a call is over.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(110);
/// What the last messages have to leave in.
const GOODBYE: Duration = Duration::from_millis(100);
/// How long the registrars have to answer our leave, challenges included.
const GOODBYE_LIMIT: Duration = Duration::from_secs(1);

/// Why the gateway stopped when nobody asked it to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The SIP side cannot start.
    #[error("{0}")]
    Sip(#[from] super::sip::SipStartError),
    /// The operator's window cannot open.
    #[error("admin.listen: cannot listen on {listen}: {}", super::advised(source))]
    Admin {
        /// Where.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// What was kept cannot be read.
    #[error("{0}")]
    Store(#[from] super::store::StoreError),
    /// The media side cannot start.
    #[error("{0}")]
    Media(#[from] super::media::MediaStartError),
    /// The XMPP server refuses us.
    #[error(
        "{section}: {server} refuses {domain}: {why} ({})",
        what_to_do(section, secret, why)
    )]
    Refused {
        /// The section of the configuration.
        section: &'static str,
        /// The section whose secret it is.
        secret: &'static str,
        /// The server.
        server: String,
        /// Our domain.
        domain: String,
        /// The server's words.
        why: String,
    },
    /// The domain or the resource cannot stand in a JID.
    #[error("xmpp.domain: {0}")]
    Jid(#[from] jid::Error),
    /// The system refuses something basic.
    #[error("{0}")]
    System(#[from] std::io::Error),
}

/// Runs the gateway until it is told to stop.
pub async fn run(mut config: Config, path: PathBuf, show_ladder: bool) -> Result<(), RunError> {
    let mut tokens = TokenMaker::new(super::seed()?);
    let leaving = host_address(&config).await;
    let listen = config.sip.listen.clone();
    let admin = config.admin.as_ref().map(|admin| {
        let listen = admin.listen;
        Admin::start(listen).map_err(|source| RunError::Admin { listen, source })
    });
    let admin = admin.transpose()?;
    let (store, kept) = match (&config.store, &config.mix) {
        (Some(store), Some(mix)) => {
            let (store, kept) = Store::start(store, mix, tokens.token(20)).await?;
            (Some(store), Some(kept))
        }
        (None, _) | (_, None) => (None, None),
    };
    let sip = SipNet::start(&mut config.sip, leaving)?;
    let config = Arc::new(config);
    let (workers, media_events) = Workers::start(&config.media, tokens.fork())?;
    let facts = media_facts(&config, &workers, leaving);
    let mut seed = [0; 32];
    tokens.fill(&mut seed);
    let mut gateway = Gateway::restore(Arc::clone(&config), facts, kept, seed)?;
    if show_ladder {
        gateway.watch_ladder();
        super::print(&Ladder::heading());
    }
    // Beside everything else: the first who types a number need not wait for it.
    drop(thread::spawn(country::load));
    let link = Link::start(config.xmpp.clone(), tokens.fork());
    let mix_link = config.mix.as_ref().map(|mix| {
        let own = XmppConfig {
            server: mix.server.clone(),
            domain: mix.domain.clone(),
            secret: mix.secret.clone(),
            ..config.xmpp.clone()
        };
        Link::start(own, tokens.fork())
    });
    let mut running = Running {
        xmpp_up: false,
        mix_up: false,
        mix_link,
        store,
        listen,
        config,
        path,
        gateway,
        sip,
        workers,
        link,
        media_events,
        ready: false,
        admin,
        up_since: Instant::now(),
        draining: false,
        wake_media_at: None,
        media_woken: Instant::now(),
    };
    running.tell_the_time();
    running.gateway.start(Instant::now());
    running.perform();
    let ended = running.serve().await;
    running.workers.shutdown();
    ended
}

struct Running {
    config: Arc<Config>,
    /// As configured, before unspecified addresses were resolved.
    listen: Vec<(SipTransport, SocketAddr)>,
    path: PathBuf,
    gateway: Gateway,
    sip: SipNet,
    workers: Workers,
    link: Link,
    media_events: mpsc::Receiver<(WorkerId, MediaEvent)>,
    mix_link: Option<Link>,
    store: Option<Store>,
    xmpp_up: bool,
    mix_up: bool,
    ready: bool,
    admin: Option<Admin>,
    up_since: Instant,
    draining: bool,
    /// Commands wait for the media threads until then.
    wake_media_at: Option<Instant>,
    media_woken: Instant,
}

impl Running {
    /// What the time is called may change: it is told again with each link.
    fn tell_the_time(&mut self) {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        if let Ok(since_1970) = since_1970 {
            self.gateway.set_clock(Instant::now(), since_1970);
        }
    }

    async fn serve(&mut self) -> Result<(), RunError> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut reload = signal(SignalKind::hangup())?;
        let mut stop_by: Option<Instant> = None;
        let mut inputs = 0;
        let mut served = Instant::now();
        let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
        loop {
            let now = Instant::now();
            if stop_by.is_some_and(|by| now >= by || self.gateway.is_idle()) {
                return self.say_goodbye().await;
            }
            // A flood of inputs must not hold up what is due.
            if self.due(served).is_some_and(|at| at <= now) {
                served = now;
                self.gateway.handle(now, Input::Timeout);
                self.perform();
            }
            if self.wake_media_at.is_some_and(|at| at <= now) {
                self.wake_media(now);
            }
            let deadlines = [self.due(served), self.wake_media_at, stop_by];
            let deadline = deadlines.into_iter().flatten().min();
            // To set an alarm costs more than to look whether it has changed.
            if let Some(at) = deadline.map(tokio::time::Instant::from_std)
                && at != alarm.deadline()
            {
                alarm.as_mut().reset(at);
            }
            let input = tokio::select! {
                _ = terminate.recv() => {
                    if stop_by.is_some() {
                        return self.say_goodbye().await;
                    }
                    stop_by = Some(Instant::now() + DRAIN_LIMIT);
                    self.draining = true;
                    tracing::info!(calls = self.gateway.census().calls.calls, "draining");
                    Input::Drain
                }
                _ = interrupt.recv() => return self.say_goodbye().await,
                _ = reload.recv() => match self.reload() {
                    Some(config) => Input::Config(config),
                    None => continue,
                },
                Some((_, event)) = self.media_events.recv() => Input::Media(event),
                event = self.link.events.recv() => match event {
                    Some(LinkEvent::Stanza(stanza)) => Input::Stanza(stanza),
                    Some(LinkEvent::Up) => {
                        self.xmpp_up = true;
                        self.tell_the_time();
                        self.announce();
                        Input::LinkUp
                    }
                    Some(LinkEvent::Down) => {
                        self.xmpp_up = false;
                        Input::LinkDown
                    }
                    Some(LinkEvent::Refused(why)) => {
                        if !self.ready {
                            return Err(self.refused("xmpp", why));
                        }
                        tracing::error!(why, "the XMPP server refuses the component");
                        continue;
                    }
                    None => return Ok(()),
                },
                Some(event) = next_of(&mut self.mix_link) => match event {
                    LinkEvent::Stanza(stanza) => Input::MixStanza(stanza),
                    LinkEvent::Up => {
                        self.mix_up = true;
                        self.announce();
                        Input::MixUp
                    }
                    LinkEvent::Down => {
                        self.mix_up = false;
                        Input::MixDown
                    }
                    LinkEvent::Refused(why) => {
                        if !self.ready {
                            return Err(self.refused("mix", why));
                        }
                        tracing::error!(why, "the XMPP server refuses the MIX component");
                        continue;
                    }
                },
                Some(input) = kept(&mut self.store) => input,
                input = self.sip.next() => Input::Net(input),
                Some(question) = question_of(&mut self.admin) => {
                    self.show(question);
                    continue;
                }
                () = &mut alarm, if deadline.is_some() => continue,
            };
            self.gateway.handle(Instant::now(), input);
            self.perform();
            inputs += 1;
            if inputs % INPUTS_A_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn wake_media(&mut self, now: Instant) {
        self.wake_media_at = None;
        self.media_woken = now;
        self.workers.wake();
    }

    /// When deadlines are served next, if they were last at `served`.
    fn due(&self, served: Instant) -> Option<Instant> {
        let at = self.gateway.poll_timeout()?;
        Some(at.max(served + TICK))
    }

    /// Carries out what the gateway wants done.
    fn perform(&mut self) {
        while let Some(output) = self.gateway.poll_output() {
            match output {
                Output::Stanza(stanza) => self.link.send(stanza),
                Output::MixStanza(stanza) => {
                    if let Some(link) = &self.mix_link {
                        link.send(stanza);
                    }
                }
                Output::Net(output) => self.sip.perform(output),
                Output::Media(worker, command) => {
                    self.workers.queue(worker, command);
                    self.wake_media_at = Some(self.media_woken + MEDIA_PAUSE);
                }
                Output::Store(number, change) => {
                    if let Some(store) = &self.store {
                        store.keep(number, change);
                    }
                }
                Output::Ask(number, question) => {
                    if let Some(store) = &self.store {
                        store.ask(number, question);
                    }
                }
                // The call table has logged it.
                Output::Record(record) => {
                    if let Some(admin) = &mut self.admin {
                        admin.ended(&record);
                    }
                }
                Output::Rung(rung) => super::print(&rung.to_string()),
            }
        }
    }

    /// Answers somebody who looks in.
    fn show(&mut self, question: Question) {
        let Some(admin) = &self.admin else { return };
        let trunks = self.config.trunks.iter().map(|trunk| {
            let up = self.gateway.trunk_is_up(&trunk.name);
            (trunk.name.clone(), up)
        });
        let view = View {
            uptime: self.up_since.elapsed(),
            xmpp_up: self.xmpp_up,
            mix_up: self.mix_link.as_ref().map(|_| self.mix_up),
            draining: self.draining,
            trunks: trunks.collect(),
            census: self.gateway.census(),
            sip: self.gateway.sip_stats(),
            texts: self.gateway.text_stats(),
        };
        admin.answer(question, &view);
    }

    /// Ends every call and gives the goodbyes a moment to leave.
    async fn say_goodbye(&mut self) -> Result<(), RunError> {
        self.gateway.handle(Instant::now(), Input::EndCalls);
        self.perform();
        self.wake_media(Instant::now());
        let by = Instant::now() + GOODBYE;
        let hurry = Instant::now() + GOODBYE_LIMIT;
        while Instant::now() < by || (Instant::now() < hurry && !self.gateway.is_unregistered()) {
            let input = tokio::select! {
                input = self.sip.next() => Input::Net(input),
                Some((_, event)) = self.media_events.recv() => Input::Media(event),
                Some(input) = kept(&mut self.store) => input,
                () = tokio::time::sleep(Duration::from_millis(20)) => Input::Timeout,
            };
            self.gateway.handle(Instant::now(), input);
            self.perform();
            self.wake_media(Instant::now());
        }
        while let Ok((_, event)) = self.media_events.try_recv() {
            self.gateway.handle(Instant::now(), Input::Media(event));
        }
        self.perform();
        if let Some(store) = self.store.take() {
            store.finish().await;
        }
        tracing::info!("stopped");
        Ok(())
    }

    fn announce(&mut self) {
        let mix_is_down = self.mix_link.is_some() && !self.mix_up;
        if self.ready || !self.xmpp_up || mix_is_down {
            return;
        }
        self.ready = true;
        let sip: Vec<String> = self
            .listen
            .iter()
            .map(|(transport, address)| format!("{}://{address}", transport.scheme()))
            .collect();
        let media: Vec<String> = self
            .workers
            .facts()
            .workers
            .iter()
            .flat_map(|worker| worker.rtp.iter().map(ToString::to_string))
            .collect();
        let line = format!(
            "ready xmpp={} sip={} media={}",
            self.config.xmpp.domain,
            sip.join(","),
            media.join(",")
        );
        super::print(&line);
        super::notify_systemd();
    }

    /// Reads the configuration and the certificates again. What sockets and threads were made from stays as it is until
    /// the next start; routes, numbers, access and time limits are for the calls to come.
    fn reload(&mut self) -> Option<Arc<Config>> {
        let Meaning {
            mut config,
            warnings,
        } = match super::config::read(&self.path) {
            Ok(meaning) => meaning,
            Err(mistakes) => {
                tracing::error!(%mistakes, "the configuration was not reloaded");
                return None;
            }
        };
        if let Err(mistakes) = self.sip.reload(&config.sip.tls) {
            // Somebody is writing the files just now.
            for mistake in mistakes {
                tracing::error!(%mistake, "the configuration was not reloaded");
            }
            return None;
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let old = &self.config;
        let resolved = std::mem::replace(&mut config.sip.listen, old.sip.listen.clone());
        let sip = SipConfig {
            tls: config.sip.tls.clone(),
            ..old.sip.clone()
        };
        let kept = [
            ("xmpp", config.xmpp != old.xmpp),
            ("sip", sip != config.sip || resolved != self.listen),
            ("media", config.media != old.media),
            ("trunk", config.trunks != old.trunks),
            ("store", config.store != old.store),
            ("admin", config.admin != old.admin),
            (
                "mix",
                !is_same_service(config.mix.as_ref(), old.mix.as_ref()),
            ),
        ];
        for (section, _) in kept.iter().filter(|(_, changed)| *changed) {
            tracing::warn!(section, "changed, and takes effect at the next start");
        }
        config.xmpp = old.xmpp.clone();
        config.sip = sip;
        config.media = old.media.clone();
        // A route to a trunk that is not there would end every call.
        if let Some(trunk) = unknown_trunk(&config.routes, &old.trunks) {
            config.routes = old.routes.clone();
            tracing::warn!(
                section = "route",
                trunk,
                "names a new trunk, and takes effect at the next start with it"
            );
        }
        config.trunks = old.trunks.clone();
        config.store = old.store.clone();
        config.admin = old.admin.clone();
        if !is_same_service(config.mix.as_ref(), old.mix.as_ref()) {
            config.mix = old.mix.clone();
        }
        tracing::info!("configuration reloaded");
        self.config = Arc::new(config);
        Some(Arc::clone(&self.config))
    }

    fn refused(&self, section: &'static str, why: String) -> RunError {
        let mix = self.config.mix.as_ref().filter(|_| section == "mix");
        let xmpp = &self.config.xmpp;
        let (server, domain) = match mix {
            Some(mix) => (&mix.server, &mix.domain),
            None => (&xmpp.server, &xmpp.domain),
        };
        // Without a secret of its own the MIX service has that of [xmpp].
        let borrowed = mix.is_some_and(|mix| mix.secret == xmpp.secret);
        RunError::Refused {
            section,
            secret: if borrowed { "xmpp" } else { section },
            server: server.clone(),
            domain: domain.clone(),
            why,
        }
    }
}

/// For the conditions that servers refuse a component with (XEP-0114 §3).
fn what_to_do(section: &str, secret: &str, why: &str) -> String {
    let condition = why.split(' ').next().unwrap_or_default();
    match condition {
        "conflict" => "is another gateway linked to it? stop that one first".to_owned(),
        "host-unknown" => format!(
            "has the server a component of this domain, and is {section}.server the port for components?"
        ),
        _ => format!("is {secret}.secret the server's component secret?"),
    }
}

/// A trunk that a route names and that is not there.
fn unknown_trunk(routes: &[RouteConfig], trunks: &[TrunkConfig]) -> Option<String> {
    let mut named = routes.iter().flat_map(|route| &route.trunks);
    let is_there = |name: &&String| trunks.iter().any(|trunk| trunk.name == **name);
    named.find(|name| !is_there(name)).cloned()
}

/// True if the MIX service is linked as before, so that the rest of its section can take effect.
fn is_same_service(new: Option<&MixConfig>, old: Option<&MixConfig>) -> bool {
    let link = |mix: &MixConfig| {
        let MixConfig {
            server,
            domain,
            secret,
            ..
        } = mix;
        (server.clone(), domain.clone(), secret.clone())
    };
    new.map(link) == old.map(link)
}

/// What the link tells next; never anything if there is none.
async fn next_of(link: &mut Option<Link>) -> Option<LinkEvent> {
    match link {
        Some(link) => link.events.recv().await,
        None => std::future::pending().await,
    }
}

/// What somebody asks next; never anything if nobody can.
async fn question_of(admin: &mut Option<Admin>) -> Option<Question> {
    match admin {
        Some(admin) => admin.next().await,
        None => std::future::pending().await,
    }
}

/// What is heard next of what is to be kept; never anything if nothing is.
async fn kept(store: &mut Option<Store>) -> Option<Input> {
    match store {
        Some(store) => Some(match store.events.recv().await? {
            Heard::Store(event) => Input::Store(event),
            Heard::Answer(number, answer) => Input::Answer(number, answer),
        }),
        None => std::future::pending().await,
    }
}

/// What the call table has to know of the media floor.
fn media_facts(config: &Config, workers: &Workers, leaving: IpAddr) -> MediaFacts {
    let media = &config.media;
    let bound = if media.bind.is_unspecified() {
        leaving
    } else {
        media.bind
    };
    MediaFacts {
        fingerprint: workers.facts().fingerprint.clone(),
        rtp_bind: media.bind,
        rtp_address: media.advertise.or(config.sip.advertise).unwrap_or(bound),
        rtp_ports: media.rtp_ports.clone(),
        workers: worker_facts(workers),
    }
}

/// The shared ports of each worker, as the call table wants to know them.
pub(super) fn worker_facts(workers: &Workers) -> Vec<WorkerFacts> {
    let facts = workers.facts().workers.iter();
    facts
        .map(|w| WorkerFacts {
            rtp: w.rtp.clone(),
            rtcp: w.rtcp.clone(),
        })
        .collect()
}

/// The address that packets to the first trunk leave from.
async fn host_address(config: &Config) -> IpAddr {
    let any = IpAddr::from([0, 0, 0, 0]);
    for trunk in &config.trunks {
        let (host, port) = match &trunk.outbound_proxy {
            Some(proxy) => (&proxy.host, proxy.port),
            None => (&trunk.host, trunk.port),
        };
        let port = port.unwrap_or(5060);
        let Ok(addresses) = tokio::net::lookup_host((host.as_str(), port)).await else {
            continue;
        };
        for address in addresses {
            let bind = if address.is_ipv4() {
                any
            } else {
                IpAddr::from([0; 16])
            };
            if let Ok(local) = super::leaving_address(bind, address) {
                return local;
            }
        }
    }
    let nobody = SocketAddr::from(([192, 0, 2, 1], 9));
    super::leaving_address(any, nobody).unwrap_or(IpAddr::from([127, 0, 0, 1]))
}
