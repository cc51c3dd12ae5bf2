//! A TCP connection whose both ends the test holds.
//!
//! Owns its opening and the question whether bytes still pass. Servers that answer once are
//! [`crate::probe`]'s.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    time::Duration,
};

use crate::{
    netns::{Namespace, within},
    probe::{BRIEFLY, SOON},
};

/// An open connection.
#[derive(Debug)]
pub struct Conversation {
    client: TcpStream,
    server: TcpStream,
}

impl Conversation {
    /// Connects `client` to the address beside it, which leads to the port of `server`.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    #[must_use]
    pub fn open(client: (&Namespace, SocketAddrV4), server: (&Namespace, u16)) -> Self {
        let listener = within(server.0, || {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, server.1)).unwrap()
        });
        let client = within(client.0, || {
            TcpStream::connect_timeout(&client.1.into(), SOON).unwrap()
        });
        let (server, _) = listener.accept().unwrap();
        Self { client, server }
    }

    /// Whether bytes get from each end to the other, the server's first.
    #[must_use]
    pub fn goes_on(&self) -> bool {
        passes(&self.server, &self.client, SOON) && passes(&self.client, &self.server, SOON)
    }

    /// Whether the client's bytes reach the server no longer.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        !passes(&self.client, &self.server, BRIEFLY)
    }
}

fn passes(mut from: &TcpStream, mut to: &TcpStream, patience: Duration) -> bool {
    to.set_read_timeout(Some(patience)).unwrap();
    let mut byte = [0];
    from.write_all(b"?").is_ok() && to.read_exact(&mut byte).is_ok() && byte == *b"?"
}
