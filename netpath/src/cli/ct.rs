//! `netpath ct`.

use super::Error;
use crate::{ct, instance::Instance};

pub(super) fn run(instance: &Instance, args: &ct::Args, json: bool) -> Result<(), Error> {
    let (datapath, _) = instance.running()?;
    Ok(ct::run(args, &datapath, json)?)
}
