//! A temporary folder with what git needs, and what it is asked for there.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{
    command::{self, Output},
    credentials::Credentials,
    error::{Denial, Error, Failure},
    query::{Query, Settings},
    revision::Wanted,
};

/// The repository in the folder.
const REPOSITORY: &str = "repository";
/// As many paths as one command line holds by far, at 512 bytes each.
const PATHS_AT_ONCE: usize = 500;

/// Git's settings. All objects of a fetch are one file (`unpackLimit`), so that a limit of the size of a
/// file limits the fetch; large ones are not read into memory. A redirect is followed for the first request
/// only; credentials are looked up by the host that then asks.
const CONFIG: &str = "\
[core]
	bigFileThreshold = 1m
	hooksPath = /dev/null
[transfer]
	unpackLimit = 1
[fetch]
	unpackLimit = 1
	recurseSubmodules = false
	writeCommitGraph = false
[gc]
	auto = 0
[maintenance]
	auto = false
[submodule]
	recurse = false
[http]
	followRedirects = initial
	lowSpeedLimit = 1
	lowSpeedTime = 60
[protocol]
	version = 2
";

/// What of a commit is fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Which objects it has at which paths.
    Names,
    /// All of it.
    Files,
}

pub(super) struct Workplace {
    folder: TempDir,
    /// In bytes.
    limit: u64,
    is_ssh: bool,
}

impl Workplace {
    /// Makes the folder, and writes down who we are.
    pub(super) fn new(query: &Query, settings: &Settings) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("imagechain-git-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&settings.scratch)?;
        let is_ssh = query.url.starts_with("ssh://");
        let workplace = Self { folder, limit: settings.bytes, is_ssh };
        let denied = |cause| Error::AccessDenied { url: query.url.clone(), cause };
        let mut helper = String::new();
        match (&query.credentials, is_ssh) {
            (Some(Credentials::Ssh { identity, known_hosts }), true) => {
                // OpenSSH takes a key without a newline at its end for none.
                workplace.write("identity", &format!("{}\n", identity.trim_end()))?;
                workplace.write("known_hosts", &format!("{}\n", known_hosts.trim_end()))?;
            }
            (Some(credentials @ Credentials::Basic { .. }), false) => {
                let store = workplace.write("credentials", &credentials.store_line(&query.url).unwrap_or_default())?;
                helper = format!("[credential]\n\thelper = \"store --file='{store}'\"\n");
            }
            (None, false) => {}
            (_, true) => return Err(denied(Denial::NoIdentity)),
            (_, false) => return Err(denied(Denial::NoPassword)),
        }
        workplace.write("config", &format!("{CONFIG}{helper}"))?;
        Ok(workplace)
    }

    fn write(&self, name: &str, text: &str) -> io::Result<String> {
        let path = self.path().join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        path.into_os_string()
            .into_string()
            .map_err(|_| io::Error::other("the folder for git has a name that is no text"))
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn prepared(&self, mut command: Command) -> Command {
        if self.is_ssh {
            // The folder's name is ours and needs no quotes but for what is around it; -F: no settings of a user.
            let folder = self.path().display();
            command.env(
                "GIT_SSH_COMMAND",
                format!(
                    "ssh -F /dev/null -i '{folder}/identity' -o IdentitiesOnly=yes -o BatchMode=yes \
                     -o UserKnownHostsFile='{folder}/known_hosts' -o GlobalKnownHostsFile=/dev/null \
                     -o StrictHostKeyChecking=yes -o ConnectTimeout=15"
                ),
            );
        }
        command
    }

    /// A call that talks to the server.
    async fn ask(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = self.prepared(command::limited(self.path(), self.limit));
        command.args(arguments);
        Ok(command::run(command).await?)
    }

    /// A call within the fetched repository.
    async fn local(&self, arguments: &[&str]) -> Result<String, Failure> {
        let mut command = command::unlimited(self.path());
        command.args(["--git-dir", REPOSITORY]).args(arguments);
        let output = command::run(command).await?;
        if output.status.success() { output.text.ok_or(Failure::TooLarge) } else { Err(Failure::Git(output.complaint)) }
    }

    /// The refs of the server, by name; of all, or of those with these names.
    pub(super) async fn refs(&self, query: &Query, names: &[String]) -> Result<BTreeMap<String, String>, Failure> {
        let mut arguments = vec!["ls-remote", "--quiet", "--", &query.url];
        arguments.extend(names.iter().map(String::as_str));
        let output = self.ask(&arguments).await?;
        if !output.status.success() {
            return Err(Failure::Git(output.complaint));
        }
        let text = output.text.ok_or(Failure::TooLarge)?;
        let refs = text.lines().filter_map(|line| line.split_once('\t'));
        Ok(refs.map(|(hash, name)| (name.to_owned(), hash.to_owned())).collect())
    }

    /// Fetches one commit, on demand without files where the server can leave them out: where it cannot, git
    /// says so and goes on.
    async fn fetch(&self, query: &Query, what: &str, content: Content) -> Result<(), Failure> {
        let mut arguments = vec!["--git-dir", REPOSITORY, "fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
        arguments.push("--depth=1");
        if content == Content::Names {
            arguments.push("--filter=blob:none");
        }
        arguments.extend(["--", &query.url, what]);
        let output = self.ask(&arguments).await?;
        match output.status.success() {
            true => Ok(()),
            false if self.is_full()? => Err(Failure::TooLarge),
            false => Err(Failure::Git(output.complaint)),
        }
    }

    /// Writes the files of a commit into a new folder, and puts the repository where it belongs: git that finds it
    /// there takes the folder for its work tree.
    pub(super) async fn unpack(&self, commit: &str, folder: &Path, repository: &Path) -> Result<(), Failure> {
        fs::create_dir_all(folder)?;
        let tree = folder.to_str().ok_or_else(|| io::Error::other("the folder has a name that is no text"))?;
        self.local(&["--work-tree", tree, "checkout", "--quiet", "--force", "--detach", commit]).await?;
        self.local(&["config", "core.bare", "false"]).await?;
        self.local(&["config", "core.worktree", tree]).await?;
        Ok(fs::rename(self.path().join(REPOSITORY), repository)?)
    }

    /// Whether what was being fetched had reached the limit: whoever is ended for it leaves its file.
    fn is_full(&self) -> io::Result<bool> {
        let mut packs = fs::read_dir(self.path().join(REPOSITORY).join("objects/pack"))?;
        // The limit is in whole units of 512 bytes.
        packs.try_fold(false, |full, pack| Ok(full || pack?.metadata()?.len() >= self.limit / 512 * 512))
    }
}

/// Fetches the commit, and says which it is.
pub(super) async fn fetched(
    workplace: &Workplace,
    query: &Query,
    wanted: &Wanted,
    content: Content,
) -> Result<String, Failure> {
    let mut initialise = command::unlimited(workplace.path());
    initialise.args(["init", "--quiet", "--bare", "--template=", REPOSITORY]);
    let made = command::run(initialise).await?;
    if !made.status.success() {
        return Err(Failure::Git(made.complaint));
    }
    match workplace.fetch(query, &wanted.hash, content).await {
        // Some servers hand out what they have a name for, and nothing else.
        Err(Failure::Git(_)) => workplace.fetch(query, &name(workplace, query, wanted).await?, content).await?,
        answer => answer?,
    }
    let hash = workplace.local(&["rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}"]).await?;
    Ok(hash.trim_end().to_owned())
}

/// A ref that leads to what is wanted.
async fn name(workplace: &Workplace, query: &Query, wanted: &Wanted) -> Result<String, Failure> {
    if let Some(name) = &wanted.name {
        return Ok(name.clone());
    }
    let refs = workplace.refs(query, &[]).await?;
    let found = refs.into_iter().find(|(_, hash)| *hash == wanted.hash);
    found.map(|(name, _)| name.trim_end_matches("^{}").to_owned()).ok_or(Failure::NoRevision)
}

/// The IDs of the objects at paths.
pub(super) async fn objects(
    workplace: &Workplace,
    commit: &str,
    paths: &BTreeSet<String>,
) -> Result<BTreeMap<String, Option<String>>, Failure> {
    let mut found: BTreeMap<String, Option<String>> = paths.iter().map(|path| (path.clone(), None)).collect();
    let inner: Vec<&str> = paths.iter().map(String::as_str).filter(|path| !path.is_empty()).collect();
    if inner.len() < paths.len() {
        let root = workplace.local(&["rev-parse", "--verify", "--quiet", &format!("{commit}^{{tree}}")]).await?;
        found.insert(String::new(), Some(root.trim_end().to_owned()));
    }
    for some in inner.chunks(PATHS_AT_ONCE) {
        // -t: a folder is told also where a path inside it is asked for.
        let arguments = [&["ls-tree", "-t", "-z", "--full-tree", commit, "--"], some].concat();
        for (path, id) in workplace.local(&arguments).await?.split('\0').filter_map(entry) {
            found.entry(path.to_owned()).and_modify(|object| *object = Some(id.to_owned()));
        }
    }
    Ok(found)
}

/// Path and object ID of a line `MODE TYPE ID<tab>PATH`.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (about, path) = line.split_once('\t')?;
    Some((path, about.rsplit_once(' ')?.1))
}
