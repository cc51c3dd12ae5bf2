//! x
use crate::context::Context;
use anyhow::Result;
pub(crate) fn dist(_c: &Context) -> Result<()> {
    Ok(())
}
