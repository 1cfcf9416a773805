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
    error::{Denial, Error, Failure},
    query::{Query, Settings},
    revision::Wanted,
};
use crate::{
    plan::{
        credentials::git::{Credentials, Tls},
        git::Obstacle,
        network::Proxy,
    },
    remote::network::Network,
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
    proxy: Proxy,
}

impl Workplace {
    /// Makes the folder, and writes down who we are.
    pub(super) fn new(query: &Query, settings: &Settings) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("imagechain-git-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir_in(&settings.scratch)?;
        let is_ssh = query.url.starts_with("ssh://");
        let proxy = settings.network.proxy.clone();
        let workplace = Self { folder, limit: settings.bytes, is_ssh, proxy };
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
        let certificates = workplace.certificates(query, &settings.network)?;
        workplace.write("config", &format!("{CONFIG}{helper}{certificates}"))?;
        Ok(workplace)
    }

    /// Git's settings for whom to trust, and for what to show to the host of the URL alone.
    fn certificates(&self, query: &Query, network: &Network) -> io::Result<String> {
        let Tls { authority, client } = &query.tls;
        let bundle = network.trusting(authority.as_deref()).bundle()?;
        let file = bundle.map(|bundle| self.write("authorities", &bundle)).transpose()?;
        let mut config: Vec<String> = file.iter().map(|file| format!("[http]\n\tsslCAInfo = \"{file}\"\n")).collect();
        if let Some(client) = client {
            let certificate = self.write("certificate", &client.certificate)?;
            let key = self.write("key", &client.key)?;
            let host: String = query.url.split_inclusive('/').take(3).collect();
            config.push(format!("[http \"{host}\"]\n\tsslCert = \"{certificate}\"\n\tsslKey = \"{key}\"\n"));
        }
        Ok(config.concat())
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
        command.args(arguments).envs(self.proxy.environment());
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

/// What a commit has at some paths.
#[derive(Default)]
pub(super) struct Objects {
    /// The ID of the object at each path, if there is one that is fetched.
    pub(super) objects: BTreeMap<String, Option<String>>,
    /// Why there is none.
    pub(super) obstacles: BTreeMap<String, Obstacle>,
}

/// Looks at what a commit has at some paths.
pub(super) async fn objects(workplace: &Workplace, commit: &str, paths: &BTreeSet<String>) -> Result<Objects, Failure> {
    let mut found = Objects { objects: paths.iter().map(|path| (path.clone(), None)).collect(), ..Objects::default() };
    if paths.contains("") {
        let root = workplace.local(&["rev-parse", "--verify", "--quiet", &format!("{commit}^{{tree}}")]).await?;
        found.objects.insert(String::new(), Some(root.trim_end().to_owned()));
    }
    // With what is above each of them: a link or a submodule there is why a path is not there.
    let asked: BTreeSet<&str> = paths.iter().flat_map(|path| above(path).chain([path.as_str()])).collect();
    let asked: Vec<&str> = asked.into_iter().filter(|path| !path.is_empty()).collect();
    for some in asked.chunks(PATHS_AT_ONCE) {
        // -t: a folder is told also where a path inside it is asked for.
        let arguments = [&["ls-tree", "-t", "-z", "--full-tree", commit, "--"], some].concat();
        for entry in workplace.local(&arguments).await?.split('\0').filter_map(Entry::read) {
            found.add(paths, &entry);
        }
    }
    Ok(found)
}

/// The folders above a path, the nearest last.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(end, _)| path.get(..end))
}

impl Objects {
    /// Takes an entry into account.
    fn add(&mut self, paths: &BTreeSet<String>, entry: &Entry<'_>) {
        match entry.mode {
            SUBMODULE => self.block(paths, entry.path, true, Obstacle::Submodule),
            LINK => self.block(paths, entry.path, false, Obstacle::Link),
            _ => {}
        }
        if entry.mode != SUBMODULE {
            self.objects.entry(entry.path.to_owned()).and_modify(|object| *object = Some(entry.id.to_owned()));
        }
    }

    /// Notes why there is nothing below a path, and at the path itself if it is one that is not fetched.
    fn block(&mut self, paths: &BTreeSet<String>, at: &str, itself: bool, make: fn(String) -> Obstacle) {
        let is_below = |path: &str| above(path).any(|folder| folder == at) || (itself && path == at);
        for path in paths.iter().filter(|path| is_below(path)) {
            self.obstacles.insert(path.clone(), make(at.to_owned()));
        }
    }
}

/// How `git ls-tree` writes what is neither a file nor a folder.
const SUBMODULE: &str = "160000";
const LINK: &str = "120000";

/// A line `MODE TYPE ID<tab>PATH`.
struct Entry<'a> {
    mode: &'a str,
    id: &'a str,
    path: &'a str,
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let (about, path) = line.split_once('\t')?;
        let (mode, rest) = about.split_once(' ')?;
        Some(Self { mode, id: rest.rsplit_once(' ')?.1, path })
    }
}
