//! What comes out of a plan, for people and for programs.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    api::build::{Cause, CauseKind},
    plan::validate::problem::Problem,
    view::preview::{Step, Verdict},
};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What comes out, which is also the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All is up to date, or on its way.
    Nothing,
    /// Something would be built or published.
    Work,
    /// Something is wrong, and nothing would be built.
    Wrong,
}

/// What would happen to one chain.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainPlan {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub name: String,
    pub steps: Vec<Step>,
    /// What is wrong with the object, in which case there are no steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What was not looked at, and how it was taken to be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assumed: Vec<String>,
}

pub fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

pub fn answer(plans: &[ChainPlan]) -> Answer {
    let has = |wanted: &[Verdict]| plans.iter().flat_map(|plan| &plan.steps).any(|step| wanted.contains(&step.verdict));
    let invalid = plans.iter().any(|plan| !plan.problems.is_empty());
    match (invalid, has(&[Verdict::Build, Verdict::Publish]), has(&[Verdict::Blocked])) {
        (true, ..) | (false, false, true) => Answer::Wrong,
        (false, true, _) => Answer::Work,
        (false, false, false) => Answer::Nothing,
    }
}

pub fn print(plans: &[ChainPlan], out: &mut impl Write) -> io::Result<()> {
    for (number, plan) in plans.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        print_plan(plan, out)?;
    }
    Ok(())
}

fn print_plan(plan: &ChainPlan, out: &mut impl Write) -> io::Result<()> {
    let namespace = plan.namespace.as_ref().map_or_else(String::new, |namespace| format!("{namespace}/"));
    writeln!(out, "{namespace}{}: {}", plan.name, summary(plan))?;
    for problem in &plan.problems {
        writeln!(out, "  {problem}")?;
    }
    if !plan.steps.is_empty() {
        let longest = plan.steps.iter().map(|step| step.link.len()).max().unwrap_or_default().max("LINK".len());
        writeln!(out, "\n  {:longest$}  {:10}  WHY", "LINK", "PLAN")?;
        for step in &plan.steps {
            let line = format!("  {:longest$}  {:10}  {}", step.link, step.verdict.words(), why(step));
            writeln!(out, "{}", line.trim_end())?;
        }
    }
    if !plan.assumed.is_empty() {
        writeln!(out, "\n  Assumed, since nobody was asked:")?;
        for each in &plan.assumed {
            writeln!(out, "  - {each}")?;
        }
    }
    Ok(())
}

/// A chain in a few words: `2 to build, 1 up to date`.
fn summary(plan: &ChainPlan) -> String {
    if !plan.problems.is_empty() {
        let noun = if plan.problems.len() == 1 { "problem" } else { "problems" };
        return format!("{} {noun}", plan.problems.len());
    }
    let count = |verdict| plan.steps.iter().filter(|step| step.verdict == verdict).count();
    let parts = [
        (Verdict::Build, "to build"),
        (Verdict::Publish, "to publish"),
        (Verdict::Running, "building"),
        (Verdict::Blocked, "blocked"),
        (Verdict::UpToDate, "up to date"),
    ];
    let parts = parts.map(|(verdict, words)| (count(verdict), words));
    let told: Vec<_> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, words)| format!("{count} {words}")).collect();
    told.join(", ")
}

fn why(step: &Step) -> String {
    let after = step.after.as_ref().map(|link| format!("after {link}"));
    let causes: Vec<_> = step.causes.iter().map(cause).collect();
    let causes = (!causes.is_empty()).then(|| causes.join("; "));
    let reason = step.reason.filter(|_| step.verdict == Verdict::Blocked).map(|reason| reason.to_string());
    let parts = [after, causes, reason, step.message.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(": ")
}

/// A cause in words, with what changed to what.
fn cause(cause: &Cause) -> String {
    let words = match cause.kind {
        CauseKind::FirstBuild => "it has no image yet",
        CauseKind::SpecChanged => "its recipe was changed",
        CauseKind::SourceChanged => "its files were changed",
        CauseKind::ParentChanged => "what it stands on has another image",
        CauseKind::BaseImageChanged => "its base image has another digest",
        CauseKind::ProfileChanged => "the profile has other images",
        CauseKind::Requested => "a rebuild was requested",
        CauseKind::ArtifactGone => "its image is no longer in the registry",
    };
    match (&cause.from, &cause.to) {
        (Some(from), Some(to)) => format!("{words} ({from} → {to})"),
        (None, Some(to)) => format!("{words} ({to})"),
        (Some(from), None) => format!("{words} (was {from})"),
        (None, None) => words.to_owned(),
    }
}
