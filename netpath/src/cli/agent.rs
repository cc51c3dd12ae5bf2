//! `netpath agent`.

use super::Error;
use crate::{agent, instance::Instance};

pub(super) async fn run(instance: &Instance) -> Result<(), Error> {
    agent::run(instance).await
}
