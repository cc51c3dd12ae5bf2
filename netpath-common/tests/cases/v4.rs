//! The cases that are the same for both families, over IPv4.

use netpath_common::testing::v4 as family;

#[path = "both.rs"]
pub(crate) mod both;
