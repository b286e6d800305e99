//! The operator's window: a small HTTP server that only shows.
//!
//! `GET /metrics` (OpenMetrics 1.0), `/health` (the gateway's loop answers), `/ready` (the XMPP server is linked
//! and calls are taken), `/` (the console). Nothing here can change anything, and nothing personal is shown:
//! neither numbers nor JIDs, so there is no password. The loop that owns the gateway answers each question by
//! itself, between two inputs; sockets and HTTP are a task's.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

mod console;
mod metrics;

use crate::call::TextStats;
use crate::call::record::CallRecord;
use crate::gateway::Census;
use crate::sip::SipStats;
use console::Console;
use metrics::Metrics;

/// Connections at a time; a monitoring system needs one, a person a few.
const CONNECTIONS: usize = 16;
/// Questions that wait for the gateway's loop.
const WAITING: usize = 16;
/// How long the loop may take for an answer before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a client may take for the head of its request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may last, idle or not.
const CONNECTION_LIMIT: Duration = Duration::from_secs(120);
/// What to wait after the system refused a connection, as when no file descriptor is left.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);

/// What the gateway's loop shows of itself.
#[derive(Debug)]
pub struct View {
    /// Since the start.
    pub uptime: Duration,
    /// Whether the XMPP server is linked.
    pub xmpp_up: bool,
    /// Whether the MIX service is linked, if there is one.
    pub mix_up: Option<bool>,
    /// No new calls are taken.
    pub draining: bool,
    /// The trunks by name, and whether each is up.
    pub trunks: Vec<(String, bool)>,
    /// What all rooms hold.
    pub census: Census,
    /// What the SIP room counted.
    pub sip: SipStats,
    /// What became of the texts.
    pub texts: TextStats,
}

impl View {
    /// What keeps the gateway from taking calls.
    fn obstacles(&self) -> Vec<&'static str> {
        let mut obstacles = Vec::new();
        if !self.xmpp_up {
            obstacles.push("xmpp: no link to the server");
        }
        if self.mix_up == Some(false) {
            obstacles.push("mix: no link to the server");
        }
        if self.draining {
            obstacles.push("draining: no new calls");
        }
        obstacles
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Page {
    Metrics,
    Health,
    Ready,
    Console,
}

impl Page {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/metrics" => Some(Self::Metrics),
            "/health" => Some(Self::Health),
            "/ready" => Some(Self::Ready),
            "/" => Some(Self::Console),
            _ => None,
        }
    }
}

/// Somebody wants to see a page.
#[derive(Debug)]
pub struct Question {
    page: Page,
    reply: oneshot::Sender<Answer>,
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    kind: &'static str,
    body: String,
}

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// The window, at the loop's end.
pub struct Admin {
    questions: mpsc::Receiver<Question>,
    metrics: Metrics,
    console: Console,
}

impl Admin {
    /// Listens, and serves in the background.
    pub fn start(listen: SocketAddr) -> std::io::Result<Self> {
        let socket = std::net::TcpListener::bind(listen)?;
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let (sender, questions) = mpsc::channel(WAITING);
        tokio::spawn(accept(listener, sender));
        Ok(Self::new(questions))
    }

    fn new(questions: mpsc::Receiver<Question>) -> Self {
        Self {
            questions,
            metrics: Metrics::default(),
            console: Console::default(),
        }
    }

    /// The next question.
    pub async fn next(&mut self) -> Option<Question> {
        self.questions.recv().await
    }

    /// Counts a call that is over.
    pub fn ended(&mut self, record: &CallRecord) {
        self.metrics.ended(record);
        self.console.ended(record);
    }

    /// Answers one question.
    pub fn answer(&self, question: Question, view: &View) {
        let Question { page, reply } = question;
        // Who asked may be gone.
        let _ = reply.send(self.page(page, view));
    }

    fn page(&self, page: Page, view: &View) -> Answer {
        match page {
            Page::Health => Answer::text(StatusCode::OK, "ok\n"),
            Page::Ready => match view.obstacles().as_slice() {
                [] => Answer::text(StatusCode::OK, "ready\n"),
                obstacles => {
                    Answer::text(StatusCode::SERVICE_UNAVAILABLE, obstacles.join("\n") + "\n")
                }
            },
            Page::Metrics => Answer {
                status: StatusCode::OK,
                kind: "application/openmetrics-text; version=1.0.0; charset=utf-8",
                body: self.metrics.text(view),
            },
            Page::Console => Answer {
                status: StatusCode::OK,
                kind: "text/html; charset=utf-8",
                body: self.console.html(view),
            },
        }
    }
}

async fn accept(listener: TcpListener, questions: mpsc::Sender<Question>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((tcp, _)) => {
                let questions = questions.clone();
                tokio::spawn(async move {
                    let _place = place;
                    serve(tcp, questions).await;
                });
            }
            Err(error) => {
                tracing::debug!(%error, "an admin connection was not accepted");
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, questions: mpsc::Sender<Question>) {
    let service = service_fn(|request| respond(request, &questions));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .serve_connection(TokioIo::new(tcp), service);
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIMIT, connection).await {
        tracing::debug!(%error, "an admin connection ended");
    }
}

async fn respond<B>(
    request: Request<B>,
    questions: &mpsc::Sender<Question>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answer = if request.method() != Method::GET && request.method() != Method::HEAD {
        Answer::text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n")
    } else {
        match Page::at(request.uri().path()) {
            Some(page) => ask(page, questions).await,
            None => Answer::text(
                StatusCode::NOT_FOUND,
                "there are /, /metrics, /health and /ready\n",
            ),
        }
    };
    let refused = answer.status == StatusCode::METHOD_NOT_ALLOWED;
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(answer.kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    if refused {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    Ok(response)
}

async fn ask(page: Page, questions: &mpsc::Sender<Question>) -> Answer {
    let asked = async {
        let (reply, answer) = oneshot::channel();
        questions.send(Question { page, reply }).await.ok()?;
        answer.await.ok()
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Some(answer)) => answer,
        Ok(None) => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the gateway stops\n"),
        Err(_) => Answer::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "the gateway does not answer\n",
        ),
    }
}

#[cfg(test)]
mod tests;
