//! The cases that are the same for both families, over IPv6.

use netpath_common::testing::v6 as family;

#[path = "both.rs"]
pub(crate) mod both;
