//! A proxy for a published port in user space, as Docker's is.
//!
//! Owns the copying: accept, connect to the container, copy both ways. On the measured CPU like
//! everything else, and on one thread, which is the cheapest that such a proxy gets.

use std::{
    net::SocketAddrV4,
    thread::{self, JoinHandle},
};

use anyhow::{Context as _, Result};
use netpath::lab::Namespace;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::cpu::Cpu;

/// A running proxy; it ends when this is dropped.
pub(super) struct Proxy {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Listens on `listen` in a namespace and hands every connection on to `target`.
    pub(super) fn start(
        namespace: &Namespace,
        cpu: &Cpu,
        listen: SocketAddrV4,
        target: SocketAddrV4,
    ) -> Result<Self> {
        let listener = namespace
            .run(|| {
                let listener = std::net::TcpListener::bind(listen)?;
                listener.set_nonblocking(true)?;
                std::io::Result::Ok(listener)
            })?
            .with_context(|| format!("the proxy cannot listen on {listen}"))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot start the proxy")?;
        let file = namespace
            .file()
            .try_clone()
            .context("the proxy cannot keep its namespace")?;
        let (stop, stopped) = oneshot::channel::<()>();
        let cpu = cpu.clone();
        let thread = thread::spawn(move || {
            // The container is reached from the router's namespace.
            let entered = nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET);
            let ready = entered
                .context("cannot enter the namespace")
                .and_then(|()| cpu.pin());
            if let Err(error) = ready {
                eprintln!("warning: the proxy does not run: {error:#}");
                return;
            }
            runtime.block_on(async {
                tokio::select! {
                    ended = serve(listener, target) => {
                        if let Err(error) = ended {
                            eprintln!("warning: the proxy has ended: {error}");
                        }
                    }
                    _ = stopped => {}
                }
            });
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, target: SocketAddrV4) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::spawn(async move {
            // A failure closes the client's connection, which then says so.
            if let Ok(mut server) = TcpStream::connect(target).await {
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            }
        });
    }
}
