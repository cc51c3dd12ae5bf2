//! SYNs by the hundred thousand a second, no two alike.
//!
//! Owns making and sending them. What they do to the host is for the tests to see.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::AsRawFd,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use netpath_common::testing::{Mac, ethernet, tcp};
use socket2::Socket;

use crate::{netns::Namespace, wire};

const SYN: u8 = 0x02;
/// Ethernet, IPv4 and TCP header.
const LENGTH: usize = 54;
/// Frames handed to the kernel at once.
const BATCH: usize = 64;
/// Hosts of 203.0.113.0/24 that take part.
const STRANGERS: u64 = 254;
/// Ports from 1024 on.
const PORTS: u64 = 64_512;

/// Who floods whom.
#[derive(Clone, Copy, Debug)]
pub enum Direction {
    /// Sources in 203.0.113.0/24, which are spoofed, to one address and port.
    To(Ipv4Addr, u16),
    /// From one address, which is the sender's own, to everybody in 203.0.113.0/24.
    From(Ipv4Addr),
}

/// A sender on one interface.
#[derive(Debug)]
pub struct Flood {
    socket: Socket,
    template: [u8; LENGTH],
    direction: Direction,
    next: u64,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// SYNs.
    pub packets: u64,
    /// In this time.
    pub elapsed: Duration,
}

impl Sent {
    /// SYNs a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.packets as f64 / self.elapsed.as_secs_f64()
    }
}

impl Flood {
    /// From `interface`, whose MAC address and next hop's are these.
    ///
    /// # Panics
    /// When the interface is not there.
    #[must_use]
    pub fn new(
        namespace: &Namespace,
        interface: &str,
        (own, hop): (Mac, Mac),
        direction: Direction,
    ) -> Self {
        let (src, dst, dport) = match direction {
            Direction::To(address, port) => ([203, 0, 113, 0], address.octets(), port),
            Direction::From(address) => (address.octets(), [203, 0, 113, 0], 0),
        };
        let mut frame = ethernet(own, hop, 0x0800);
        frame.extend(tcp(src, 0, dst, dport, SYN).bytes());
        Self {
            socket: wire::sender(namespace, interface),
            template: frame.try_into().unwrap(),
            direction,
            next: 0,
        }
    }

    /// Sends until `stop`, at most `rate` a second.
    ///
    /// # Panics
    /// When the kernel does not take the frames.
    pub fn run(&mut self, rate: f64, stop: &AtomicBool) -> Sent {
        let started = Instant::now();
        let mut packets = 0;
        while !stop.load(Ordering::Relaxed) {
            let due = Duration::from_secs_f64(packets as f64 / rate);
            // Pacing, not waiting: a load has a rate.
            if let Some(early) = due.checked_sub(started.elapsed()) {
                thread::sleep(early);
            }
            packets += self.batch();
        }
        Sent {
            packets,
            elapsed: started.elapsed(),
        }
    }

    fn batch(&mut self) -> u64 {
        let mut frames = [[0; LENGTH]; BATCH];
        for frame in &mut frames {
            *frame = self.frame(self.next);
            self.next += 1;
        }
        let mut parts = frames.each_mut().map(|frame| libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: LENGTH,
        });
        let mut messages = parts.each_mut().map(|part| {
            // SAFETY: all fields of mmsghdr are integers and pointers, for which zero is a value.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        // SAFETY: the messages, their parts and frames live through the call.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                0,
            )
        };
        match u64::try_from(sent) {
            Ok(sent) => sent,
            // The interface's queue is full: the rest of this batch is lost.
            Err(_) if io::Error::last_os_error().raw_os_error() == Some(libc::ENOBUFS) => 0,
            Err(_) => panic!("cannot flood: {}", io::Error::last_os_error()),
        }
    }

    /// The frame of this number: the template with its stranger and ports, and both checksums
    /// brought up to date (RFC 1624).
    #[must_use]
    pub fn frame(&self, number: u64) -> [u8; LENGTH] {
        let stranger = 1 + (number % STRANGERS) as u8;
        let port = (1024 + number / STRANGERS % PORTS) as u16;
        let mut frame = self.template;
        let mut change = |at: usize, value: u16, checks: &[usize]| {
            let old = u16::from_be_bytes([frame[at], frame[at + 1]]);
            frame[at..at + 2].copy_from_slice(&value.to_be_bytes());
            for check in checks {
                let sum = !u16::from_be_bytes([frame[*check], frame[*check + 1]]);
                let mut new = u32::from(sum) + u32::from(!old) + u32::from(value);
                new = (new & 0xffff) + (new >> 16);
                new = (new & 0xffff) + (new >> 16);
                frame[*check..*check + 2].copy_from_slice(&(!(new as u16)).to_be_bytes());
            }
        };
        let low_half = u16::from_be_bytes([113, stranger]);
        match self.direction {
            Direction::To(..) => {
                change(28, low_half, &[24, 50]);
                change(34, port, &[50]);
            }
            Direction::From(_) => {
                change(32, low_half, &[24, 50]);
                change(34, port, &[50]);
                change(36, port, &[50]);
            }
        }
        frame
    }
}
