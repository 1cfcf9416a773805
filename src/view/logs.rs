//! Whose logs tell what goes on with a chain: of which link, of which attempt, of which stages.

use thiserror::Error;

use crate::api::{
    build::{Attempt, ImageBuildStatus},
    chain::{ImageChainStatus, LinkState, LinkStatus},
};

/// Why there are no logs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoLogs {
    /// Nobody has looked at the chain.
    #[error(
        "no operator has looked at the chain yet: see kubectl get pods --all-namespaces -l app.kubernetes.io/name=imagechain"
    )]
    NotObserved,
    /// There is no such link.
    #[error("the chain has no link «{link}»; it has {known}")]
    NoLink {
        /// What was asked for.
        link: String,
        /// What there is.
        known: String,
    },
    /// Nothing was ever built, or all that was has been forgotten.
    #[error("no build of the chain is there: {0}")]
    NoBuild(String),
    /// The build has no pod yet.
    #[error("the build «{build}» has no pod yet: {message}")]
    NoPod {
        /// The build.
        build: String,
        /// What holds it.
        message: String,
    },
}

/// The link that somebody wants to see, which has a build. Who names none sees the one that is at work, else
/// the first that has failed, else the last that has a build.
///
/// # Errors
/// There is none.
pub fn link<'a>(chain: &'a ImageChainStatus, asked: Option<&str>) -> Result<&'a LinkStatus, NoLogs> {
    if chain.links.is_empty() {
        return Err(NoLogs::NotObserved);
    }
    let candidates: Vec<&LinkStatus> = match asked {
        Some(name) => vec![named(chain, name)?],
        None => chain.links.iter().collect(),
    };
    let built = || candidates.iter().copied().filter(|link| link.build.is_some());
    let with = |state| built().find(|link| link.state == state);
    let found = with(LinkState::Building).or_else(|| with(LinkState::Failed)).or_else(|| built().next_back());
    found.ok_or_else(|| NoLogs::NoBuild(candidates.iter().copied().map(holds).collect::<Vec<_>>().join("; ")))
}

fn named<'a>(chain: &'a ImageChainStatus, name: &str) -> Result<&'a LinkStatus, NoLogs> {
    let known = || chain.links.iter().map(|link| format!("«{}»", link.name)).collect::<Vec<_>>().join(", ");
    let found = chain.links.iter().find(|link| link.name.0 == name);
    found.ok_or_else(|| NoLogs::NoLink { link: name.to_owned(), known: known() })
}

fn holds(link: &LinkStatus) -> String {
    let message = link.message.as_deref().unwrap_or("it is ready, and its builds are forgotten");
    format!("«{}»: {message}", link.name)
}

/// The attempt of a build that tells most: the last.
///
/// # Errors
/// None has begun.
pub fn attempt<'a>(build: &str, status: &'a ImageBuildStatus) -> Result<&'a Attempt, NoLogs> {
    status.attempts.iter().max_by_key(|attempt| attempt.number).ok_or_else(|| {
        let ready = status.conditions.iter().find(|condition| condition.type_ == "Ready");
        let message = ready.map_or("no operator has looked at it", |ready| ready.message.as_str()).to_owned();
        NoLogs::NoPod { build: build.to_owned(), message }
    })
}

/// How a build ended, in a sentence; `None` while it goes on.
#[must_use]
pub fn end(status: &ImageBuildStatus) -> Option<String> {
    status.finished_at.as_ref()?;
    Some(match (&status.failure, &status.artifact) {
        (Some(failure), _) => format!("failed: {}: {}", failure.reason, failure.message),
        (None, Some(artifact)) => format!("verified: {}", artifact.reference),
        (None, None) => "ended".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn chain(links: &Value) -> ImageChainStatus {
        serde_json::from_value(json!({"links": links})).unwrap()
    }

    #[test]
    fn the_link_that_tells_most_is_shown() {
        let ready = |name: &str| json!({"name": name, "state": "Ready", "build": format!("shop-{name}-1")});
        let failed = |name: &str| json!({"name": name, "state": "Failed", "build": format!("shop-{name}-1")});
        let building = json!({"name": "web", "state": "Building", "build": "shop-web-2"});
        let blocked = json!({"name": "dev", "state": "Blocked", "message": "it waits for «web»"});
        let forgotten = json!({"name": "base", "state": "Ready"});
        let cases = [
            ("nobody looked", json!([]), None, Err(NoLogs::NotObserved)),
            ("what runs", json!([failed("base"), building, blocked]), None, Ok("web")),
            ("what failed", json!([ready("base"), failed("web"), ready("dev")]), None, Ok("web")),
            ("what was last", json!([ready("base"), ready("web"), blocked]), None, Ok("web")),
            ("what is asked for", json!([ready("base"), building]), Some("base"), Ok("base")),
            (
                "a wrong name",
                json!([ready("base"), building]),
                Some("wbe"),
                Err(NoLogs::NoLink { link: "wbe".to_owned(), known: "«base», «web»".to_owned() }),
            ),
            (
                "no build",
                json!([forgotten, blocked]),
                None,
                Err(NoLogs::NoBuild(
                    "«base»: it is ready, and its builds are forgotten; «dev»: it waits for «web»".to_owned(),
                )),
            ),
        ];
        for (what, links, asked, expected) in cases {
            let status = chain(&links);
            assert_eq!(link(&status, asked).map(|link| link.name.0.as_str()), expected, "{what}");
        }
    }

    #[test]
    fn the_last_attempt_is_shown_or_what_holds_it() {
        let attempt_of =
            |number| json!({"number": number, "pod": format!("p-{number}"), "startedAt": "2026-11-21T08:00:00Z"});
        let status: ImageBuildStatus =
            serde_json::from_value(json!({"attempts": [attempt_of(1), attempt_of(2)]})).unwrap();
        assert_eq!(attempt("b", &status).unwrap().pod.0, "p-2");
        let condition = json!({"type": "Ready", "status": "Unknown", "reason": "WaitingForSlot",
            "message": "4 builds run already", "lastTransitionTime": "2026-11-21T08:00:00Z"});
        let status = serde_json::from_value(json!({"conditions": [condition]})).unwrap();
        let error = attempt("b", &status).unwrap_err().to_string();
        assert_eq!(error, "the build «b» has no pod yet: 4 builds run already");
    }

    #[test]
    fn an_end_is_told_in_a_sentence() {
        let at = "2026-11-21T08:00:00Z";
        let failure = json!({"reason": "TestsFailed", "class": "Build", "message": "test_page: 404"});
        let cases = [
            (json!({}), None),
            (json!({"finishedAt": at, "failure": failure}), Some("failed: TestsFailed: test_page: 404")),
        ];
        for (status, expected) in cases {
            let status: ImageBuildStatus = serde_json::from_value(status).unwrap();
            assert_eq!(end(&status).as_deref(), expected);
        }
    }
}
