//! A port that stays ours while nothing listens on it.

use std::net::SocketAddr;

use tokio::net::TcpSocket;

/// A loopback port, bound but not listened on: connections to it are refused, nobody else is given it, and a server that
/// sets `SO_REUSEPORT`, as Envoy's listeners do, can take it.
#[derive(Debug)]
pub(crate) struct Port {
    address: SocketAddr,
    socket: Option<TcpSocket>,
}

impl Port {
    /// A port that the system chooses.
    pub(crate) fn reserve() -> Self {
        let mut port = Self { address: SocketAddr::from(([127, 0, 0, 1], 0)), socket: None };
        port.hold();
        port
    }

    /// `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number alone.
    pub(crate) fn number(&self) -> u16 {
        self.address.port()
    }

    /// Lets go of the port, for a server that wants it for itself.
    pub(crate) fn release(&mut self) {
        self.socket = None;
    }

    /// Takes the port again after its server has ended.
    pub(crate) fn hold(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(self.address).unwrap_or_else(|error| panic!("cannot hold {}: {error}", self.address));
        self.address = socket.local_addr().unwrap();
        self.socket = Some(socket);
    }
}

#[tokio::test]
async fn a_held_port_refuses_connections_and_can_be_shared() {
    let mut port = Port::reserve();
    assert!(super::http::get(&format!("http://{}", port.address())).await.is_err());
    let second = TcpSocket::new_v4().unwrap();
    second.set_reuseport(true).unwrap();
    second.bind(port.address()).unwrap();
    drop(second);
    port.release();
    tokio::net::TcpListener::bind(port.address()).await.unwrap();
    port.hold();
}
