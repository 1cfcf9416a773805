//! Look-ups against a real git server, and against one that fails.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::LazyLock,
    time::{Duration, Instant},
};

use imagechain::{
    api::condition::Reason,
    plan::git::Obstacle,
    remote::git::{Credentials, Error, Found, Query, Settings, look_up},
};
use tempfile::TempDir;

use crate::support::{
    faults::{Fault, Faults, Seen},
    servers::{Servers, Worktree, git},
};

/// The password of tests: it must be nowhere but at the server that it is for.
const CANARY: &str = "canary-4711";

/// Makes the answer to every request.
type Make = Box<dyn Fn() -> Fault + Send + Sync>;

/// One for all tests, each with repositories of its own.
static SERVERS: LazyLock<Servers> = LazyLock::new(Servers::start);

/// A repository on the server, and somebody who pushes to it.
fn pushed(name: &str) -> (String, Worktree) {
    let url = format!("{}/{name}.git", SERVERS.git());
    let work = Worktree::new(&url);
    (url, work)
}

/// Host and port of the server.
fn host() -> &'static str {
    SERVERS.git().trim_start_matches("http://")
}

fn query(url: &str, revision: &str, paths: &[&str], credentials: Option<Credentials>) -> Query {
    let paths: BTreeSet<String> = paths.iter().map(|&path| path.to_owned()).collect();
    Query::new(url, revision, paths, credentials).expect("a query")
}

fn bob() -> Credentials {
    Credentials::Basic { username: "bob".to_owned(), password: CANARY.to_owned() }
}

/// Looks up, and finds nothing left over.
async fn find(query: &Query, change: impl FnOnce(&mut Settings)) -> Result<Found, Error> {
    let scratch = tempfile::tempdir().expect("a folder");
    let mut settings = Settings::new(scratch.path().to_owned());
    change(&mut settings);
    let answer = look_up(query, &settings).await;
    assert_eq!(names(scratch.path()), [""; 0], "left over");
    answer
}

async fn found(url: &str, revision: &str, paths: &[&str]) -> Found {
    find(&query(url, revision, paths, None), |_| {}).await.expect("a commit")
}

/// The error as everybody sees it, without the canary in whatever form.
fn said(error: &Error) -> String {
    for text in [error.to_string(), format!("{error:?}")] {
        // The second is "bob:canary-4711" in base64.
        assert!(!text.contains(CANARY) && !text.contains("Ym9iOmNhbmFyeS00NzEx"), "{text}");
    }
    error.to_string()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect()
}

#[tokio::test]
async fn the_objects_of_paths_are_those_of_the_commit() {
    let (url, work) = pushed("objects");
    let first = work.commit(&[("packer/web.json", "1"), ("ansible/site.yml", "1"), ("a b/ü[*]\n", "1"), ("top", "1")]);
    work.push(&["main"]);
    let paths =
        ["", "packer", "packer/web.json", "ansible", "a b/ü[*]\n", "top", "missing", "top/missing", "*", ":(glob)**"];
    let started = Instant::now();
    let before = found(&url, "main", &paths).await;
    println!("a look-up: {:?}", started.elapsed());
    assert_eq!(before.commit, first);
    let expected = |path: &&str| {
        let exists = !matches!(*path, "missing" | "top/missing" | "*" | ":(glob)**");
        (path.to_string(), exists.then(|| work.git(&["rev-parse", &format!("HEAD:{path}")])))
    };
    assert_eq!(before.objects, paths.iter().map(expected).collect::<BTreeMap<_, _>>());

    let second = work.commit(&[("ansible/site.yml", "2")]);
    work.push(&["main"]);
    let after = found(&url, "main", &paths).await;
    assert_eq!(after.commit, second);
    let changed: Vec<&String> =
        after.objects.iter().filter(|(path, object)| before.objects[*path] != **object).map(|(path, _)| path).collect();
    assert_eq!(changed, ["", "ansible"], "what else the commit has is as it was");
}

#[tokio::test]
async fn a_revision_is_a_branch_a_tag_a_ref_a_commit_or_the_default() {
    let (url, work) = pushed("revisions");
    let one = work.commit(&[("file", "1")]);
    work.git(&["tag", "light"]);
    work.git(&["tag", "--annotate", "--message", "heavy", "heavy"]);
    work.git(&["tag", "both"]);
    let heavy = work.git(&["rev-parse", "heavy"]);
    let two = work.commit(&[("file", "2")]);
    let branches = ["main", "HEAD:refs/heads/feature/x", "HEAD:refs/heads/both", "HEAD:refs/pull/1/head"];
    work.push(&[&branches[..], &["--tags"]].concat());
    for (revision, expected) in [
        ("HEAD", &two),
        ("main", &two),
        ("feature/x", &two),
        ("refs/heads/feature/x", &two),
        ("pull/1/head", &two),
        ("light", &one),
        ("heavy", &one),
        ("refs/tags/heavy", &one),
        ("both", &two),
        ("refs/tags/both", &one),
        (&one, &one),
        (&two, &two),
        (&heavy, &one),
    ] {
        assert_eq!(&found(&url, revision, &[]).await.commit, expected, "{revision}");
    }
    // None that ends like it is taken for it.
    let (absent, short) = ("0".repeat(40), &one[..8]);
    for revision in ["x", "heads/x", "refs/heads/x", "mai", "refs/heads", &absent, short] {
        let error = find(&query(&url, revision, &[], None), |_| {}).await.unwrap_err();
        assert!(matches!(error, Error::NoRevision { .. }), "{revision}: {error}");
        assert_eq!(error.reason(), Reason::RevisionNotFound);
    }
}

#[tokio::test]
async fn every_name_that_git_allows_is_a_revision() {
    let (url, work) = pushed("names");
    let one = work.commit(&[("file", "1")]);
    let names = ["fix@login", "feature/#42", "größe", "a+b", "x=y,z", "(draft)!", "50%"];
    for name in names {
        work.git(&["branch", name]);
    }
    let two = work.commit(&[("file", "2")]);
    work.push(&["--all"]);
    for name in names {
        assert_eq!(found(&url, name, &["file"]).await.commit, one, "{name}");
        assert_eq!(found(&url, &format!("refs/heads/{name}"), &[]).await.commit, one, "{name}");
    }
    assert_eq!(found(&url, "main", &[]).await.commit, two);
}

#[tokio::test]
async fn a_default_branch_that_is_not_there_is_told_as_such() {
    let (url, work) = pushed("default");
    work.commit(&[("file", "1")]);
    work.push(&["HEAD:refs/heads/other"]);
    git(&SERVERS.bare("default"), &["symbolic-ref", "HEAD", "refs/heads/gone"]);
    let error = find(&query(&url, "HEAD", &[], None), |_| {}).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RevisionNotFound);
    assert!(error.to_string().contains("has no default branch: its HEAD names a branch that is not there"), "{error}");
    assert!(find(&query(&url, "other", &[], None), |_| {}).await.is_ok());
}

#[tokio::test]
async fn what_is_in_a_submodule_or_behind_a_link_is_told_apart() {
    let (url, work) = pushed("obstacles");
    let commit = work.commit(&[("packer/web.json", "1")]);
    let top = work.git(&["rev-parse", "--show-toplevel"]);
    std::os::unix::fs::symlink("packer", format!("{top}/link")).unwrap();
    work.commit(&[]);
    work.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},third/lib")]);
    work.git(&["commit", "--quiet", "--message", "a submodule"]);
    work.push(&["main"]);
    let paths = ["packer/web.json", "packer/no", "third", "third/lib", "third/lib/a/b", "link", "link/web.json"];
    let answer = found(&url, "main", &paths).await;
    let there: Vec<&str> = paths.into_iter().filter(|path| answer.objects[*path].is_some()).collect();
    assert_eq!(there, ["packer/web.json", "third", "link"]);
    let submodule = || Obstacle::Submodule("third/lib".to_owned());
    let expected = [
        ("third/lib", submodule()),
        ("third/lib/a/b", submodule()),
        ("link/web.json", Obstacle::Link("link".to_owned())),
    ];
    assert_eq!(answer.obstacles, expected.map(|(path, obstacle)| (path.to_owned(), obstacle)).into());
}

#[tokio::test]
async fn what_moves_is_followed() {
    let (url, work) = pushed("moves");
    work.commit(&[("file", "1")]);
    work.git(&["tag", "v1"]);
    work.push(&["main", "v1"]);
    work.git(&["checkout", "--quiet", "--orphan", "other"]);
    let other = work.commit(&[("file", "2")]);
    work.git(&["tag", "--force", "v1"]);
    work.push(&["other:main", "v1"]);
    for revision in ["main", "v1"] {
        assert_eq!(found(&url, revision, &["file"]).await.commit, other, "{revision}");
    }
}

#[tokio::test]
async fn servers_without_partial_clones_and_single_commits_do_as_well() {
    let (url, work) = pushed("plain");
    let first = work.commit(&[("folder/file", "1")]);
    work.push(&["main"]);
    for (key, value) in [("uploadpack.allowFilter", "false"), ("uploadpack.allowAnySHA1InWant", "false")] {
        git(&SERVERS.bare("plain"), &["config", key, value]);
    }
    let object = work.git(&["rev-parse", "HEAD:folder"]);
    for revision in ["main", &first] {
        let answer = found(&url, revision, &["folder"]).await;
        assert_eq!((answer.commit, &answer.objects["folder"]), (first.clone(), &Some(object.clone())), "{revision}");
    }
}

#[tokio::test]
async fn a_large_repository_is_no_matter_where_files_are_left_out_and_bounded_where_not() {
    let (url, work) = pushed("large");
    // Nothing that compresses, in more files than git unpacks by itself.
    let noise = |seed: u32| {
        let next = |state: &mut u32| {
            *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b' ' + u8::try_from(*state >> 24).expect("a byte") % 90)
        };
        let mut state = seed;
        (0..100_000).map(|_| next(&mut state)).collect::<String>()
    };
    let files: Vec<(String, String)> = (0..20).map(|number| (format!("file-{number}"), noise(number))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let commit = work.commit(&files);
    work.push(&["main"]);
    let query = query(&url, "main", &["file-7"], None);
    let small = |settings: &mut Settings| settings.bytes = 500_000;
    assert_eq!(find(&query, small).await.unwrap().commit, commit);

    git(&SERVERS.bare("large"), &["config", "uploadpack.allowFilter", "false"]);
    let error = find(&query, small).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 500_000, .. }), "{error}");
    assert_eq!(error.reason(), Reason::SourceRejected);
    assert_eq!(find(&query, |settings| settings.bytes = 5_000_000).await.unwrap().commit, commit);
}

#[tokio::test]
async fn every_answer_has_a_reason() {
    let (_, work) = pushed("answers");
    let url = format!("{}/answers.git", SERVERS.git());
    work.commit(&[("file", "1")]);
    work.push(&["main"]);
    let html = || Fault::Answer(200, vec![("content-type", "text/html".to_owned())], b"<html>".to_vec());
    let status = |status: u16| -> Make { Box::new(move || Fault::status(status)) };
    let cases: [(Make, Reason, &str); 9] = [
        (status(401), Reason::AccessDenied, "refuses the credentials"),
        (status(403), Reason::AccessDenied, "refuses the credentials"),
        (status(404), Reason::RevisionNotFound, "there is no git repository"),
        (status(410), Reason::RevisionNotFound, "there is no git repository"),
        (status(429), Reason::SourceUnavailable, "answers 429"),
        (status(500), Reason::SourceUnavailable, "answers 500"),
        (status(503), Reason::SourceUnavailable, "answers 503"),
        (Box::new(html), Reason::RevisionNotFound, "there is no git repository"),
        (Box::new(|| Fault::redirect("/answers.git/info/refs?service=git-upload-pack")), Reason::SourceUnavailable, ""),
    ];
    for (make, reason, sentence) in cases {
        let faults = Faults::before(host(), move |_| Some(make())).await;
        let url = url.replace(host(), &faults.address());
        let error = find(&query(&url, "main", &[], Some(bob())), |_| {}).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(said(&error).contains(sentence) && said(&error).contains(&url), "{error}");
    }
    // Bound, and so nobody else's, but it does not listen.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let nowhere = socket.local_addr().unwrap();
    for url in
        [format!("http://{nowhere}/a.git"), format!("https://{nowhere}/a.git"), format!("https://{}/a.git", host())]
    {
        let error = find(&query(&url, "main", &[], Some(bob())), |_| {}).await.unwrap_err();
        assert_eq!(error.reason(), Reason::SourceUnavailable, "{}", said(&error));
    }
}

/// The git server behind a proxy that only bob passes.
async fn guarded() -> Faults {
    Faults::before(host(), |seen: &Seen| {
        let is_bob = seen.authorization.as_deref() == Some("Basic Ym9iOmNhbmFyeS00NzEx");
        let challenge = || vec![("www-authenticate", "Basic realm=\"test\"".to_owned())];
        (!is_bob).then(|| Fault::Answer(401, challenge(), Vec::new()))
    })
    .await
}

#[tokio::test]
async fn only_the_right_user_may_read() {
    let (_, work) = pushed("private");
    let commit = work.commit(&[("file", "1")]);
    work.push(&["main"]);
    let faults = guarded().await;
    let url = format!("http://{}/private.git", faults.address());
    assert_eq!(find(&query(&url, "main", &["file"], Some(bob())), |_| {}).await.unwrap().commit, commit);
    let other = Credentials::Basic { username: "bob".to_owned(), password: "canary-4711-wrong".to_owned() };
    let ssh = Credentials::Ssh { identity: CANARY.to_owned(), known_hosts: String::new() };
    for (credentials, sentence) in [
        (None, "refuses whoever shows no credentials"),
        (Some(other), "refuses the credentials"),
        (Some(ssh), "need a Secret with `username` and `password`"),
    ] {
        let error = find(&query(&url, "main", &[], credentials), |_| {}).await.unwrap_err();
        assert_eq!(error.reason(), Reason::AccessDenied, "{error}");
        assert!(said(&error).contains(sentence), "{error}");
    }
}

#[tokio::test]
async fn no_other_host_gets_the_credentials() {
    let (_, work) = pushed("redirected");
    let commit = work.commit(&[("file", "1")]);
    work.push(&["main"]);
    let challenge = || Fault::Answer(401, vec![("www-authenticate", "Basic realm=\"test\"".to_owned())], Vec::new());
    // Whether the server redirects only whom it knows, and whether the other one asks who comes.
    for (is_known_first, is_asking, expected) in [
        (false, false, Ok(commit)),
        (false, true, Err(Reason::AccessDenied)),
        // Git asks the first server again, which redirects again, and that it does not follow.
        (true, false, Err(Reason::SourceUnavailable)),
        (true, true, Err(Reason::AccessDenied)),
    ] {
        let stranger = Faults::before(host(), move |_| is_asking.then(challenge)).await;
        let elsewhere = format!("http://{}", stranger.address());
        let faults = Faults::before(host(), move |seen: &Seen| {
            let is_stopped = is_known_first && seen.authorization.is_none();
            Some(if is_stopped { challenge() } else { Fault::redirect(&format!("{elsewhere}{}", seen.path)) })
        })
        .await;
        let url = format!("http://{}/redirected.git", faults.address());
        let answer = find(&query(&url, "main", &[], Some(bob())), |_| {}).await;
        assert_eq!(answer.map(|found| found.commit).map_err(|error| error.reason()), expected);
        let knows = faults.seen().iter().any(|seen| seen.authorization.is_some());
        assert!(knows || !is_known_first, "the server that the credentials are for gets them");
        let reached: BTreeSet<Option<String>> = stranger.seen().into_iter().map(|seen| seen.authorization).collect();
        assert_eq!(reached, BTreeSet::from([None]), "{is_known_first} {is_asking}");
    }
}

/// The command lines and environments of all processes that mention a folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let read = |path: &Path, file: &str| fs::read(path.join(file)).unwrap_or_default();
    let of = |entry: fs::DirEntry| {
        let both = [read(&entry.path(), "cmdline"), read(&entry.path(), "environ")].concat();
        String::from_utf8_lossy(&both).replace('\0', " ")
    };
    let all = fs::read_dir("/proc").unwrap().map(|entry| of(entry.unwrap()));
    all.filter(|text| text.contains(folder.to_str().unwrap())).collect()
}

/// Waits until it is so.
async fn until(mut is_so: impl FnMut() -> bool) {
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let waiting = async {
        while !is_so() {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), waiting).await.expect("in time");
}

#[tokio::test]
async fn a_look_up_that_nobody_waits_for_leaves_nothing_and_shows_no_secret() {
    // It lets bob in, and says nothing more.
    let faults = Faults::before(host(), |seen: &Seen| {
        let challenge = vec![("www-authenticate", "Basic realm=\"test\"".to_owned())];
        Some(if seen.authorization.is_some() { Fault::Silence } else { Fault::Answer(401, challenge, Vec::new()) })
    })
    .await;
    let scratch: TempDir = tempfile::tempdir().unwrap();
    let url = format!("http://{}/silent.git", faults.address());
    let (query, settings) = (query(&url, "main", &[], Some(bob())), Settings::new(scratch.path().to_owned()));
    let looking = tokio::spawn(async move { look_up(&query, &settings).await });
    until(|| faults.seen().iter().any(|seen| seen.authorization.is_some())).await;

    let running = processes_in(scratch.path());
    assert!(running.iter().any(|text| text.contains("git-remote-http") || text.contains("remote-http")), "{running:?}");
    assert!(running.iter().all(|text| !text.contains(CANARY)), "{running:?}");
    let made = scratch.path().join(&names(scratch.path())[0]);
    for file in ["config", "credentials"] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(made.join(file)).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
    }

    looking.abort();
    assert!(looking.await.unwrap_err().is_cancelled());
    until(|| processes_in(scratch.path()).is_empty()).await;
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up() {
    let faults = Faults::before(host(), |_| Some(Fault::Silence)).await;
    let url = format!("http://{}/silent.git", faults.address());
    let error =
        find(&query(&url, "main", &[], None), |settings| settings.time = Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error}");
    assert_eq!(error.reason(), Reason::SourceUnavailable);
}

#[tokio::test]
async fn ssh_wants_a_key_and_believes_only_known_hosts() {
    let (_, work) = pushed("ssh");
    let commit = work.commit(&[("file", "1")]);
    work.push(&["main"]);
    let url = format!("{}/ssh.git", SERVERS.ssh());
    let ssh = |identity: &str, known_hosts: &str| {
        Some(Credentials::Ssh { identity: identity.to_owned(), known_hosts: known_hosts.to_owned() })
    };
    let (key, hosts) = SERVERS.ssh_keys();
    for revision in ["main", &commit] {
        let answer = find(&query(&url, revision, &["file"], ssh(&key, &hosts)), |_| {}).await.unwrap();
        assert_eq!(
            (answer.commit, &answer.objects["file"]),
            (commit.clone(), &Some(work.git(&["rev-parse", "HEAD:file"])))
        );
    }
    // Another server, whose key is not the one that is known.
    let other = Servers::start();
    let missing = format!("{}/Missing.git", SERVERS.ssh());
    let nowhere = url.replace(SERVERS.ssh(), "ssh://git@127.0.0.1:1");
    for (url, credentials, reason, sentence) in [
        (&*url, None, Reason::AccessDenied, "ssh needs a Secret"),
        (&url, Some(bob()), Reason::AccessDenied, "ssh needs a Secret"),
        (&url, ssh(CANARY, &hosts), Reason::AccessDenied, "refuses the credentials"),
        (&url, ssh(&other.ssh_keys().0, &hosts), Reason::AccessDenied, "refuses the credentials"),
        (&url, ssh(&key, ""), Reason::AccessDenied, "known_hosts"),
        (&url, ssh(&key, &other.ssh_keys().1), Reason::AccessDenied, "known_hosts"),
        (&missing, ssh(&key, &hosts), Reason::RevisionNotFound, "there is no git repository"),
        (&nowhere, ssh(&key, &hosts), Reason::SourceUnavailable, "cannot be read now"),
    ] {
        let error = find(&query(url, "main", &[], credentials), |_| {}).await.unwrap_err();
        assert_eq!(error.reason(), reason, "{}", said(&error));
        assert!(said(&error).contains(sentence), "{error}");
    }
}
