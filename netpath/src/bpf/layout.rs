//! Layout checks.
use super::{Datapath, Error};

pub(super) fn check_records(_dp: &Datapath) -> Result<(), Error> {
    Ok(())
}
