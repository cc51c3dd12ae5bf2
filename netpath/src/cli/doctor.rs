//! `netpath doctor`.

use std::path::Path;

use super::{Error, output};
use crate::doctor::{self, Finding, Level};

/// Examines the host and prints what was found; whether nothing has failed.
///
/// # Errors
/// Standard output is closed.
pub async fn run(instance: &str, state_dir: &Path, json: bool) -> Result<bool, Error> {
    let findings = doctor::examine(instance, state_dir).await;
    if json {
        output::json(&findings)?;
    } else {
        output::lines(text(&findings))?;
    }
    Ok(doctor::is_healthy(&findings))
}

fn text(findings: &[Finding]) -> Vec<String> {
    let width = findings.iter().map(|it| it.check.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for it in findings {
        let level = it.level.as_str();
        lines.push(format!("{level:<8} {:<width$}  {}", it.check, it.found));
        if let Some(remedy) = &it.remedy {
            lines.push(format!("{:8} {:<width$}  → {remedy}", "", ""));
        }
    }
    let count = |level| findings.iter().filter(|it| it.level == level).count();
    lines.push(format!(
        "\n{} checks: {} failed, {} warnings",
        findings.len(),
        count(Level::Failed),
        count(Level::Warning)
    ));
    lines
}
