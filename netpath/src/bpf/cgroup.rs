//! Attaching the socket programs to the root of the cgroup v2 hierarchy.
//!
//! Owns where that is. The programs themselves leave every other network namespace alone.

use std::{env, fs, path::PathBuf};

use aya::programs::{
    CgroupAttachMode, CgroupSockAddr, cgroup_sock_addr::CgroupSockAddrAttachType, links::FdLink,
};

use super::{
    Datapath, Error,
    attach::{attach_error, program_io},
    link_name::LinkName,
    pins::unlink,
};

const PROGRAMS: &[(&str, CgroupSockAddrAttachType)] = &[
    ("np_connect4", CgroupSockAddrAttachType::Connect4),
    ("np_connect6", CgroupSockAddrAttachType::Connect6),
    ("np_sendmsg4", CgroupSockAddrAttachType::UDPSendMsg4),
    ("np_sendmsg6", CgroupSockAddrAttachType::UDPSendMsg6),
    ("np_recvmsg4", CgroupSockAddrAttachType::UDPRecvMsg4),
    ("np_recvmsg6", CgroupSockAddrAttachType::UDPRecvMsg6),
    ("np_peername4", CgroupSockAddrAttachType::GetPeerName4),
    ("np_peername6", CgroupSockAddrAttachType::GetPeerName6),
    ("np_sockname4", CgroupSockAddrAttachType::GetSockName4),
    ("np_sockname6", CgroupSockAddrAttachType::GetSockName6),
    ("np_bind4", CgroupSockAddrAttachType::Bind4),
    ("np_bind6", CgroupSockAddrAttachType::Bind6),
];

/// Set to 1 to do as if there were no cgroup v2, for tests.
const NO_CGROUP: &str = "NETPATH_NO_CGROUP";

impl Datapath {
    /// Whether every socket program is attached.
    ///
    /// # Errors
    /// A pin cannot be read.
    pub fn has_host_sockets(&self) -> Result<bool, Error> {
        for (program, _) in PROGRAMS {
            if !self.is_live(&LinkName::Cgroup((*program).to_owned()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Attaches the socket programs, which translate the host's own connections to published
    /// ports; does nothing for those that are attached. `false` when there is no cgroup v2.
    ///
    /// # Errors
    /// If the kernel refuses one; then those that were attached by this call are detached.
    pub fn attach_host_sockets(&self) -> Result<bool, Error> {
        let Some(root) = cgroup2_root()? else {
            return Ok(false);
        };
        let mut made = Vec::new();
        for (program, attach_type) in PROGRAMS {
            let name = LinkName::Cgroup((*program).to_owned());
            let path = self.pins().link(&name.to_string());
            let attached = self.is_live(&name).and_then(|live| {
                if live {
                    return Ok(());
                }
                unlink(&path)?;
                self.attach_socket(program, *attach_type, &root, &path)?;
                made.push(path.clone());
                Ok(())
            });
            if let Err(e) = attached {
                made.iter()
                    .filter_map(|path| unlink(path).err())
                    .for_each(|e| {
                        tracing::error!("{e}");
                    });
                return Err(e);
            }
        }
        Ok(true)
    }

    fn attach_socket(
        &self,
        program: &str,
        attach_type: CgroupSockAddrAttachType,
        root: &PathBuf,
        path: &PathBuf,
    ) -> Result<(), Error> {
        let target = root.display().to_string();
        let failed = |e| attach_error("attaching", program, &target, e);
        let cgroup = fs::File::open(root).map_err(failed)?;
        let mut socket = CgroupSockAddr::from_pin(self.pins().program(program), attach_type)
            .map_err(|e| failed(program_io(e)))?;
        // Links always allow others beside them; asking for it is refused.
        let link: FdLink = socket
            .attach(cgroup, CgroupAttachMode::Single)
            .and_then(|id| socket.take_link(id))
            .map_err(|e| failed(program_io(e)))?
            .try_into()
            .map_err(|e| failed(std::io::Error::other(e)))?;
        link.pin(path).map_err(|source| Error::Pin {
            path: path.clone(),
            source,
        })?;
        Ok(())
    }
}

/// Where the cgroup v2 hierarchy is mounted.
pub(crate) fn cgroup2_root() -> Result<Option<PathBuf>, Error> {
    if env::var(NO_CGROUP).is_ok_and(|v| v == "1") {
        return Ok(None);
    }
    let mounts = fs::read_to_string("/proc/self/mounts")
        .map_err(|e| Error::system("reading /proc/self/mounts", e))?;
    Ok(find_cgroup2(&mounts))
}

fn find_cgroup2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(place))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroup2_is_found_in_both_layouts() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";
        assert_eq!(find_cgroup2(hybrid), Some("/sys/fs/cgroup/unified".into()));
        let unified = "cgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(find_cgroup2(unified), Some("/sys/fs/cgroup".into()));
        assert_eq!(find_cgroup2("proc /proc proc rw 0 0\n"), None);
    }
}
