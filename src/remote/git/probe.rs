//! Why git failed. It says so in sentences for people, and ends with 128 whatever the cause: for http and
//! https we ask the server ourselves, once, what it answers to the first request of a fetch. For ssh there
//! is nothing but ssh's sentences.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue},
    redirect::Policy,
};
use rustls::crypto::ring;

use super::{
    credentials::Credentials,
    error::{Denial, Error, Failure},
    query::{Query, Settings},
};

const LIMIT: Duration = Duration::from_secs(15);
/// The most of a sentence of git's that is passed on, in characters.
const LONGEST_SENTENCE: usize = 200;

/// What OpenSSH (9.2) and the servers behind it say in the C locale, and what it means.
const SSH: [(&str, Meaning); 6] = [
    ("Host key verification failed", Meaning::UnknownHost),
    ("Permission denied", Meaning::Refused),
    ("Load key", Meaning::Refused),
    ("epository not found", Meaning::NoRepository),
    ("does not appear to be a git repository", Meaning::NoRepository),
    ("does not exist", Meaning::NoRepository),
];

#[derive(Clone, Copy)]
enum Meaning {
    UnknownHost,
    Refused,
    NoRepository,
}

/// Makes an error of what is known, and of what the server says when it is asked.
pub(super) async fn explain(failure: Failure, query: &Query, settings: &Settings) -> Error {
    let url = query.url.clone();
    match failure {
        Failure::NoRevision if !is_http(&url) => no_revision(query),
        // Git takes a web page for a repository without refs (its "dumb" protocol).
        Failure::NoRevision => match by_answer(query, "").await {
            error @ (Error::AccessDenied { .. } | Error::NoRepository { .. }) => error,
            _ => no_revision(query),
        },
        Failure::TooLarge => Error::TooLarge { url, limit: settings.bytes },
        Failure::Local(error) => Error::Local(error),
        Failure::Git(complaint) if is_http(&url) => by_answer(query, &complaint).await,
        Failure::Git(complaint) => by_ssh(query, &complaint),
    }
}

fn is_http(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

fn no_revision(query: &Query) -> Error {
    let (url, revision) = (query.url.clone(), query.revision.clone());
    if revision == "HEAD" { Error::NoDefault { url } } else { Error::NoRevision { url, revision } }
}

fn by_ssh(query: &Query, complaint: &str) -> Error {
    let (url, secret) = (query.url.clone(), query.secret.clone());
    let meaning = SSH.iter().find(|(sentence, _)| complaint.contains(sentence));
    match meaning.map(|(_, meaning)| meaning) {
        Some(Meaning::UnknownHost) => Error::AccessDenied { url, cause: Denial::UnknownHost(secret) },
        Some(Meaning::Refused) => Error::AccessDenied { url, cause: Denial::Credentials(secret) },
        Some(Meaning::NoRepository) => Error::NoRepository { url, anonymous: false },
        None => Error::Unavailable { url, cause: sentence(query, complaint) },
    }
}

async fn by_answer(query: &Query, complaint: &str) -> Error {
    let (url, anonymous) = (query.url.clone(), query.credentials.is_none());
    let answer = match first_answer(query).await {
        Ok(answer) => answer,
        Err(cause) => return Error::Unavailable { url, cause },
    };
    match answer.status() {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let denial = if anonymous { Denial::Anonymous } else { Denial::Credentials(query.secret.clone()) };
            Error::AccessDenied { url, cause: denial }
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Error::NoRepository { url, anonymous },
        StatusCode::OK if !is_git(&answer) => Error::NoRepository { url, anonymous },
        StatusCode::OK => Error::Unavailable { url, cause: sentence(query, complaint) },
        status => Error::Unavailable { url, cause: format!("the server answers {status}") },
    }
}

/// What the server answers to the first request of a fetch, as git follows redirects for it. Credentials go
/// to its host alone (reqwest).
async fn first_answer(query: &Query) -> Result<Response, String> {
    // Fails where a provider is installed already, which is as good.
    let _ = ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).redirect(Policy::limited(5)).build();
    let client = client.map_err(|_| "the system has no certificates to trust".to_owned())?;
    let address = format!("{}/info/refs?service=git-upload-pack", query.url.trim_end_matches('/'));
    let mut request = client.get(address).header("Git-Protocol", "version=2");
    if let Some(Credentials::Basic { username, password }) = &query.credentials
        && let Ok(mut value) =
            HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    {
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    request.send().await.map_err(|error| {
        if error.is_timeout() { "the server does not answer in time" } else { "the server cannot be reached" }
            .to_owned()
    })
}

fn is_git(answer: &Response) -> bool {
    answer.headers().get(CONTENT_TYPE).is_some_and(|value| value == "application/x-git-upload-pack-advertisement")
}

/// The first sentence of git's own, without control characters and credentials.
fn sentence(query: &Query, complaint: &str) -> String {
    let own = complaint.lines().find_map(|line| line.strip_prefix("fatal: ")).unwrap_or("git failed");
    let own: String = own.chars().filter(|letter| !letter.is_control()).take(LONGEST_SENTENCE).collect();
    query.credentials.as_ref().map_or(own.clone(), |credentials| credentials.redacted(&own))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::condition::Reason;

    fn query(credentials: Option<Credentials>) -> Query {
        Query::new("ssh://git@git.example/shop.git", "main", BTreeSet::new(), credentials).unwrap()
    }

    #[test]
    fn what_ssh_says_has_a_meaning() {
        let rest = "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";
        for (complaint, expected) in [
            ("git@git.example: Permission denied (publickey).", Reason::AccessDenied),
            (
                "No ED25519 host key is known for git.example and you have requested strict checking.\nHost key verification failed.",
                Reason::AccessDenied,
            ),
            ("Load key \"/x/identity\": error in libcrypto", Reason::AccessDenied),
            ("ERROR: Repository not found.", Reason::RevisionNotFound),
            ("fatal: '/shop.git' does not appear to be a git repository", Reason::RevisionNotFound),
            ("ssh: connect to host git.example port 22: Connection refused", Reason::SourceUnavailable),
            ("ssh: Could not resolve hostname git.example: Name or service not known", Reason::SourceUnavailable),
            ("kex_exchange_identification: Connection closed by remote host", Reason::SourceUnavailable),
        ] {
            assert_eq!(by_ssh(&query(None), &format!("{complaint}{rest}")).reason(), expected, "{complaint}");
        }
    }

    #[test]
    fn a_sentence_is_gits_own_and_bounded() {
        let credentials = Credentials::Basic { username: "bob".to_owned(), password: "canary".to_owned() };
        let query = query(Some(credentials));
        for (complaint, expected) in [
            (
                "remote: foreign\nfatal: remote error: the canary\u{7}!\nfatal: more",
                "remote error: the ***!".to_owned(),
            ),
            ("", "git failed".to_owned()),
            (&format!("fatal: {}", "x".repeat(500)), "x".repeat(200)),
        ] {
            assert_eq!(sentence(&query, complaint), expected);
        }
    }
}
