//! What becomes of each rule: every one has a fate in the end.
//!
//! Owns how several verdicts about one rule become one.

/// What becomes of a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// The configuration says what it says.
    Used,
    /// Part of how a generator builds its rules: netpath does so by itself, or need not.
    Implied,
    /// The configuration says it but for this.
    Partly(String),
    /// The configuration does not say it, because of this.
    Left(String),
}

impl Fate {
    pub(super) fn left(why: impl Into<String>) -> Self {
        Self::Left(why.into())
    }
}

/// The fates of all rules, by their place.
#[derive(Debug)]
pub(super) struct Fates(Vec<Option<Fate>>);

impl Fates {
    pub(super) fn new(rules: usize) -> Self {
        Self(vec![None; rules])
    }

    /// Notes a verdict. A rule that is used in one way and not in another is used in part.
    pub(super) fn note(&mut self, rule: usize, fate: Fate) {
        let Some(place) = self.0.get_mut(rule) else {
            return;
        };
        *place = Some(match (place.take(), fate) {
            (None | Some(Fate::Implied), new) => new,
            (Some(old), Fate::Implied) => old,
            (Some(Fate::Used), Fate::Left(why) | Fate::Partly(why))
            | (Some(Fate::Left(why) | Fate::Partly(why)), Fate::Used)
            | (Some(Fate::Partly(why)), Fate::Left(_) | Fate::Partly(_))
            | (Some(Fate::Left(_)), Fate::Partly(why)) => Fate::Partly(why),
            (Some(Fate::Used), Fate::Used) => Fate::Used,
            (Some(Fate::Left(why)), Fate::Left(_)) => Fate::Left(why),
        });
    }

    /// Every fate; a rule without any is `unreached`.
    pub(super) fn all(self, unreached: impl Fn(usize) -> String) -> Vec<Fate> {
        let fates = self.0.into_iter().enumerate();
        fates
            .map(|(at, fate)| fate.unwrap_or_else(|| Fate::Left(unreached(at))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_loss_is_forgotten() {
        let left = || Fate::left("no");
        let partly = || Fate::Partly("no".into());
        for (first, second, want) in [
            (Fate::Used, Fate::Used, Fate::Used),
            (Fate::Implied, Fate::Used, Fate::Used),
            (Fate::Used, Fate::Implied, Fate::Used),
            (Fate::Implied, left(), left()),
            (left(), Fate::Implied, left()),
            (Fate::Used, left(), partly()),
            (left(), Fate::Used, partly()),
            (partly(), Fate::Used, partly()),
            (left(), left(), left()),
            (partly(), Fate::left("other"), partly()),
        ] {
            let mut fates = Fates::new(2);
            fates.note(0, first);
            fates.note(0, second);
            fates.note(7, Fate::Used);
            let all = fates.all(|at| format!("unreached {at}"));
            assert_eq!(all, [want, Fate::left("unreached 1")]);
        }
    }
}
