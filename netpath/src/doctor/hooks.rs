//! Other programs on the hooks that netpath uses.

use std::io;

use super::{Finding, Patient};
use crate::bpf::{Beside, own_programs, programs_beside};

pub(super) fn findings(patient: &Patient) -> Vec<Finding> {
    let own = own_programs(&patient.instance);
    let links = patient.own_links();
    let names = patient.uplinks.iter().map(String::as_str).chain(links);
    let mut found = Vec::new();
    for name in names {
        let Some(link) = patient.links.iter().find(|link| link.name == name) else {
            continue;
        };
        match programs_beside(name, link.index, link.xdp, &own) {
            Ok(programs) => found.extend(programs.into_iter().map(|it| (name.to_owned(), it))),
            Err(e) => return vec![unknown(name, &e)],
        }
    }
    vec![judge(&found)]
}

const CHECK: &str = "other programs";

fn unknown(link: &str, e: &io::Error) -> Finding {
    Finding::warning(
        CHECK,
        format!("the kernel does not tell what is on {link}: {e}"),
        "run `netpath doctor` as root",
    )
}

fn judge(found: &[(String, Beside)]) -> Finding {
    if found.is_empty() {
        return Finding::ok(CHECK, "none on netpath's hooks");
    }
    let told: Vec<_> = found.iter().map(|(link, it)| tell(link, it)).collect();
    Finding::warning(
        CHECK,
        told.join("; "),
        "what runs first may keep packets from netpath, or be kept from them: see \
         docs/configuration.md, \"Other programs\"",
    )
}

fn tell(link: &str, it: &Beside) -> String {
    let name = if it.name.is_empty() {
        "a program without a name"
    } else {
        &it.name
    };
    let order = if it.hook == "xdp" || it.first {
        "before netpath's"
    } else {
        "after netpath's"
    };
    format!("{name} ({}) on {link}, {}, {order}", it.id, it.hook)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn each_is_named_with_its_place_and_order() {
        assert_eq!(judge(&[]).level, Level::Ok);
        let program = |name: &str, hook, first| {
            let it = Beside {
                hook,
                name: name.to_owned(),
                id: 7,
                first,
            };
            ("eth0".to_owned(), it)
        };
        let found = judge(&[
            program("meter", "tcx egress", false),
            program("", "xdp", true),
        ]);
        assert_eq!(found.level, Level::Warning);
        assert_eq!(
            found.found,
            "meter (7) on eth0, tcx egress, after netpath's; \
             a program without a name (7) on eth0, xdp, before netpath's"
        );
    }
}
