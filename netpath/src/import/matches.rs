//! What a rule matches, and what it matches together with the jumps that lead to it.
//!
//! Owns the meeting of two conditions. Judges nothing.

use ipnet::IpNet;

use crate::config::PortRange;

/// Conditions: all of them hold.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Matches {
    pub(super) source: Option<IpNet>,
    pub(super) not_source: Vec<IpNet>,
    pub(super) destination: Option<IpNet>,
    pub(super) not_destination: Vec<IpNet>,
    pub(super) input: Option<String>,
    pub(super) not_input: Vec<String>,
    pub(super) output: Option<String>,
    pub(super) not_output: Vec<String>,
    pub(super) protocol: Option<String>,
    pub(super) ports: Option<Vec<PortRange>>,
    /// The destination is an address of the host.
    pub(super) local_destination: bool,
    /// The source is.
    pub(super) local_source: bool,
    /// Value and mask.
    pub(super) mark: Option<(u32, u32)>,
    /// Which share of connections.
    pub(super) share: Option<f64>,
    pub(super) comments: Vec<String>,
    /// What is not understood, as it stands.
    pub(super) others: Vec<String>,
    /// Nothing fulfils all of them.
    pub(super) impossible: bool,
}

impl Matches {
    /// The same but for comments.
    pub(super) fn is_nothing(&self) -> bool {
        let plain = Self {
            comments: Vec::new(),
            ..self.clone()
        };
        plain == Self::default()
    }

    /// What fulfils both these and `more`.
    pub(super) fn and(&self, more: &Self) -> Self {
        let mut both = self.clone();
        let mut fits = true;
        meet(&mut both.source, more.source, narrower, &mut fits);
        meet(&mut both.destination, more.destination, narrower, &mut fits);
        meet(&mut both.input, more.input.clone(), same, &mut fits);
        meet(&mut both.output, more.output.clone(), same, &mut fits);
        meet(&mut both.protocol, more.protocol.clone(), same, &mut fits);
        let ports = more.ports.clone();
        meet(&mut both.ports, ports, |a, b| shared(a, b), &mut fits);
        both.not_source.extend(&more.not_source);
        both.not_destination.extend(&more.not_destination);
        both.not_input.extend_from_slice(&more.not_input);
        both.not_output.extend_from_slice(&more.not_output);
        both.comments.extend_from_slice(&more.comments);
        both.others.extend_from_slice(&more.others);
        both.local_destination |= more.local_destination;
        both.local_source |= more.local_source;
        both.impossible |= more.impossible || !fits;
        if both.mark.is_some() && more.mark.is_some() && both.mark != more.mark {
            both.others.push("two marks".into());
        }
        both.mark = both.mark.or(more.mark);
        if both.share.is_some() && more.share.is_some() {
            both.others.push("a share of a share".into());
        }
        both.share = both.share.or(more.share);
        both
    }
}

fn meet<T>(
    ours: &mut Option<T>,
    theirs: Option<T>,
    both: impl FnOnce(&T, T) -> Option<T>,
    fits: &mut bool,
) {
    let Some(theirs) = theirs else { return };
    *ours = match ours.take() {
        None => Some(theirs),
        Some(ours) => {
            let met = both(&ours, theirs);
            *fits &= met.is_some();
            Some(met.unwrap_or(ours))
        }
    };
}

fn narrower(a: &IpNet, b: IpNet) -> Option<IpNet> {
    if a.contains(&b) {
        Some(b)
    } else {
        b.contains(a).then_some(*a)
    }
}

fn same(a: &String, b: String) -> Option<String> {
    (*a == b).then_some(b)
}

fn shared(a: &[PortRange], b: Vec<PortRange>) -> Option<Vec<PortRange>> {
    let meet = |x: &PortRange, y: &PortRange| {
        PortRange::new(x.first().max(y.first()), x.last().min(y.last()))
    };
    let all: Vec<_> = b
        .iter()
        .flat_map(|y| a.iter().filter_map(move |x| meet(x, y)))
        .collect();
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{rule::parse, words::words},
        *,
    };

    fn matches(line: &str) -> Matches {
        parse(&words(line).unwrap()).0
    }

    #[test]
    fn jumps_narrow_what_comes_after() {
        let path = matches("-s 10.0.0.0/8 -p tcp -m multiport --dports 80,443,8000:8010");
        let both = path.and(&matches("-s 10.1.0.0/16 -p tcp --dport 8005:9000"));
        assert_eq!(both.source, "10.1.0.0/16".parse().ok());
        assert_eq!(both.ports, Some(vec![PortRange::new(8005, 8010).unwrap()]));
        assert!(!both.impossible);
        let wider = both.and(&matches("-s 10.0.0.0/8"));
        assert_eq!(wider.source, "10.1.0.0/16".parse().ok());
        for never in ["-s 192.0.2.0/24", "-p udp", "-p tcp --dport 22"] {
            assert!(both.and(&matches(never)).impossible, "{never}");
        }
        assert!(matches("-m comment --comment x").is_nothing());
        assert!(!both.is_nothing());
    }
}
