//! Programs of others on the hooks that netpath uses.
//!
//! Owns finding them by interface, whichever way they are attached. Touches none.

use std::io;

use aya::programs::{ProgramInfo, SchedClassifier, TcAttachType, loaded_programs};

use super::{
    attach::program_io,
    clsact::{self, Place},
    kernel,
    pins::Pins,
};

/// A program on an interface that is not netpath's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Beside {
    /// Where: `tcx ingress`, `clsact egress`, `xdp` and so on.
    pub(crate) hook: &'static str,
    /// Its name, empty where it has none.
    pub(crate) name: String,
    /// The kernel's number of it.
    pub(crate) id: u32,
    /// It runs before netpath's on the same hook, or without it.
    pub(crate) first: bool,
}

/// The programs of others at ingress and egress of an interface, and in its driver (`xdp`: the number of
/// the program there); `own` are the numbers of netpath's. Kernels before 6.6 have no tcx.
///
/// # Errors
/// The kernel does not tell, as it does not tell who is not root.
pub(crate) fn programs_beside(
    ifname: &str,
    ifindex: u32,
    xdp: Option<u32>,
    own: &[u32],
) -> io::Result<Vec<Beside>> {
    let mut found = Vec::new();
    for (attach, hook) in [
        (TcAttachType::Ingress, "tcx ingress"),
        (TcAttachType::Egress, "tcx egress"),
    ] {
        if !kernel::at_least(6, 6) {
            break;
        }
        let programs = match SchedClassifier::query_tcx(ifname, attach).map_err(program_io) {
            Ok((_, programs)) => programs,
            // A 6.6 kernel may still have been built without tcx.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Vec::new(),
            Err(e) => return Err(e),
        };
        let names = programs.iter().map(|info| (name_of(info), info.id()));
        found.extend(others(hook, own, names));
    }
    for (egress, hook) in [(false, "clsact ingress"), (true, "clsact egress")] {
        let filters = clsact::filters(Place { ifindex, egress })?;
        let ids = filters.iter().filter_map(|filter| filter.program);
        found.extend(others(hook, own, ids.map(|id| (name_by_id(id), id))));
    }
    if let Some(id) = xdp {
        found.extend(others("xdp", own, [(name_by_id(id), id)]));
    }
    Ok(found)
}

/// The numbers of the programs that an instance has pinned; none where it is not up.
pub(crate) fn own_programs(instance: &str) -> Vec<u32> {
    let Ok(pins) = Pins::of(instance) else {
        return Vec::new();
    };
    let names = Pins::names(&pins.programs()).unwrap_or_default();
    let info = |name: &String| ProgramInfo::from_pin(pins.program(name)).ok();
    names.iter().filter_map(info).map(|it| it.id()).collect()
}

/// Those of a hook's programs, in their order, that are not netpath's.
fn others(
    hook: &'static str,
    own: &[u32],
    programs: impl IntoIterator<Item = (String, u32)>,
) -> Vec<Beside> {
    let mut first = true;
    let mut found = Vec::new();
    for (name, id) in programs {
        if own.contains(&id) {
            first = false;
        } else {
            found.push(Beside {
                hook,
                name,
                id,
                first,
            });
        }
    }
    found
}

fn name_of(info: &ProgramInfo) -> String {
    info.name_as_str().unwrap_or_default().to_owned()
}

fn name_by_id(id: u32) -> String {
    let mut all = loaded_programs().filter_map(Result::ok);
    all.find(|info| info.id() == id)
        .map_or_else(String::new, |info| name_of(&info))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netpaths_own_are_left_out_and_the_order_is_told() {
        let programs = [("edge", 1), ("np_veth", 2), ("np_veth", 3)];
        let found = others(
            "tcx ingress",
            &[2],
            programs.map(|(name, id)| (name.to_owned(), id)),
        );
        let told: Vec<_> = found
            .iter()
            .map(|it| (it.name.as_str(), it.id, it.first))
            .collect();
        assert_eq!(told, [("edge", 1, true), ("np_veth", 3, false)]);
    }
}
