//! `netpath up`.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use super::{Error, output};
use crate::{
    config::{Config, DEFAULT_PATH},
    instance::{self, Done, Instance, MapWork, Plan, UpOptions},
};

/// Options of `up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Only show what would be done
    #[arg(long)]
    dry_run: bool,
    /// Agree to the removal of networks and endpoints that the configuration does not have
    #[arg(short, long)]
    yes: bool,
    /// Endpoints whose network namespaces are not there yet wait for them, instead of being an error
    #[arg(long)]
    absent_ok: bool,
}

pub(super) async fn run(instance: &Instance, args: &Args, json: bool) -> Result<(), Error> {
    let config = Config::load(&args.config)?;
    let options = UpOptions {
        yes: args.yes,
        absent_ok: args.absent_ok,
    };
    if args.dry_run {
        let plan = instance.plan(&config, options).await?;
        let maps = MapWork::default();
        let done = Done { plan, maps };
        return if json {
            print(&done, true)
        } else {
            show(&done.plan)
        };
    }
    if json {
        let done = instance.up(&config, options, None, |_| {}).await?;
        return print(&done, false);
    }
    let asks = !args.yes && io::stdin().is_terminal() && io::stderr().is_terminal();
    let mut shown = Ok(());
    if asks {
        // Without the lock: nobody has to wait for the answer.
        let plan = instance.plan(&config, options).await?;
        if !plan.losses.is_empty() {
            show(&plan)?;
            ask(&plan)?;
            instance.up(&config, options, Some(&plan), |_| {}).await?;
            return Ok(());
        }
    }
    instance
        .up(&config, options, None, |plan| shown = show(plan))
        .await?;
    shown
}

/// Asks whether what goes may go.
fn ask(plan: &Plan) -> Result<(), Error> {
    eprint!("remove {}? [y/N] ", plan.losses.join(", "));
    io::stderr().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(instance::Error::Declined.into()),
    }
}

/// The plan, a line each step.
fn show(plan: &Plan) -> Result<(), Error> {
    if plan.steps.is_empty() {
        return output::lines(["nothing to change"]);
    }
    output::lines(plan.steps.iter().map(ToString::to_string))
}

fn print(done: &Done, dry_run: bool) -> Result<(), Error> {
    let Done { plan, maps } = done;
    let changes: Vec<String> = plan.steps.iter().map(ToString::to_string).collect();
    output::json(&serde_json::json!({
        "dry_run": dry_run,
        "changes": changes,
        "published_ports": {
            "written": maps.entries,
            "system_calls": maps.calls,
            "microseconds": maps.time.as_micros() as u64,
        },
    }))
}
