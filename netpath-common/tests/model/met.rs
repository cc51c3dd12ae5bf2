//! What a life has met.
//!
//! Owns the names of what has to be met in both families: what never happens was never judged.

use crate::{side::Side, world::World};

/// What can happen in networks that are routed or bound, and at balanced ports.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Shape {
    /// A container's own address and port leave.
    RoutedOut,
    /// The outside asks for what is open at a container's own address.
    RoutedIn,
    /// It pings.
    RoutedPing,
    /// Another network asks.
    RoutedNeighbour,
    /// A binding is made.
    BoundFirst,
    /// Another conversation has the port of one that lives.
    BoundAgain,
    /// The same, of a port that is not the container's own.
    BoundElsewhere,
    /// A stranger gets in.
    BoundIn,
    /// A container with bindings asks a bound port.
    BoundNeighbour,
    /// One without.
    BoundByOthers,
    /// One its own.
    BoundItself,
    /// Each container is chosen.
    BalancedFirst,
    BalancedSecond,
    BalancedThird,
    /// A container asks.
    BalancedHairpin,
    /// Somebody is dead, and somebody else chosen.
    BalancedPastTheDead,
    /// Somebody does not let the client in, and somebody else is chosen.
    BalancedPastARefusal,
    /// A packet goes where its conversation has begun, though others have come or gone since.
    BalancedStays,
    /// The container of a conversation has gone, and its next packet begins another one.
    BalancedMoves,
}

impl Shape {
    pub(crate) const ALL: [Self; 19] = [
        Self::RoutedOut,
        Self::RoutedIn,
        Self::RoutedPing,
        Self::RoutedNeighbour,
        Self::BoundFirst,
        Self::BoundAgain,
        Self::BoundElsewhere,
        Self::BoundIn,
        Self::BoundNeighbour,
        Self::BoundByOthers,
        Self::BoundItself,
        Self::BalancedFirst,
        Self::BalancedSecond,
        Self::BalancedThird,
        Self::BalancedHairpin,
        Self::BalancedPastTheDead,
        Self::BalancedPastARefusal,
        Self::BalancedStays,
        Self::BalancedMoves,
    ];
}

impl World {
    /// Notes that something has happened.
    pub(crate) fn met<A: Side>(&mut self, shape: Shape) {
        self.seen.shapes[usize::from(A::IS_V6)].insert(shape);
    }
}
