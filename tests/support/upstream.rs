//! An HTTP server that says who it is, as the echo servers of the Docker sandbox do.

use std::fmt::Write as _;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::Request;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A running upstream; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: SocketAddr,
    _server: JoinSet<()>,
}

impl Upstream {
    /// Starts an upstream that answers every request with its name and the request.
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::serve(name, TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port"))
    }

    /// The same on a port that was chosen before.
    pub(crate) fn serve(name: &'static str, listener: TcpListener) -> Self {
        let address = listener.local_addr().expect("it is bound");
        let app = Router::new().fallback(async move |request: Request| describe(name, &request));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.expect("serving does not end by itself") });
        Self { address, _server: server }
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port alone, for topologies that name the host.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }
}

fn describe(name: &str, request: &Request) -> String {
    let mut text = format!(
        "Request served by {name}\n\n{} {} {:?}\n\n",
        request.method(),
        request.uri().path_and_query().map_or("/", |path| path.as_str()),
        request.version()
    );
    for (key, value) in request.headers() {
        writeln!(text, "{key}: {}", String::from_utf8_lossy(value.as_bytes())).expect("a string takes all");
    }
    text
}

/// Who answered, if this is an upstream's answer.
pub(crate) fn served_by(body: &str) -> Option<&str> {
    body.lines().next()?.strip_prefix("Request served by ")
}

#[tokio::test]
async fn an_upstream_says_who_it_is_and_what_it_was_asked() {
    let upstream = Upstream::start("service1").await;
    let answer = super::http::get(&format!("http://{}/a?b=c", upstream.address())).await.unwrap();
    assert_eq!(served_by(&answer.body), Some("service1"));
    assert!(answer.body.contains("\n\nGET /a?b=c HTTP/1.1\n\n"), "{}", answer.body);
    assert!(answer.body.contains(&format!("\nhost: {}\n", upstream.address())), "{}", answer.body);
}
