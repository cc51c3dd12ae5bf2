//! Kernel packets behind the traits of netpath-common.

mod tc;

pub(crate) use tc::TcPacket;
