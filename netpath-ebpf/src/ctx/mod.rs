//! Kernel packets behind the traits of netpath-common.

mod tc;
mod xdp;

pub(crate) use tc::TcPacket;
pub(crate) use xdp::XdpPacket;
