//! What packer says with `-machine-readable`: lines `TIME,TARGET,TYPE,DATA,…`.

use std::collections::BTreeMap;

/// A line of packer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// For people, in one or several lines.
    Text(String),
    /// For people, from what runs in the build.
    Output(String),
    /// For people, about what went wrong.
    Error(String),
    /// Why a build failed.
    Failure { build: String, why: String },
    /// A property of an artifact.
    Artifact { build: String, index: String, key: String, value: String },
    /// A file of an artifact, as packer names it.
    File { build: String, path: String },
    /// Its version.
    Version(String),
    /// For programs, of no use to us.
    Other,
}

impl Line {
    /// The same with other words for people.
    pub(super) fn map_text(self, change: impl Fn(&str) -> String) -> Self {
        match self {
            Self::Text(text) => Self::Text(change(&text)),
            Self::Output(text) => Self::Output(change(&text)),
            Self::Error(text) => Self::Error(change(&text)),
            Self::Failure { build, why } => Self::Failure { build, why: change(&why) },
            other @ (Self::Artifact { .. } | Self::File { .. } | Self::Version(_) | Self::Other) => other,
        }
    }
}

/// Reads a line; what is not of packer's form is text of a program that it ran.
pub(super) fn line(text: &str) -> Line {
    let mut fields = text.split(',');
    let Some(([_, target, kind], data)) = head(&mut fields) else { return Line::Text(text.to_owned()) };
    match (kind, data.as_slice()) {
        ("ui", [kind, text]) if kind == "error" => Line::Error(text.clone()),
        ("ui", [kind, text]) if kind == "message" => Line::Output(text.clone()),
        ("ui", [_, text]) => Line::Text(text.clone()),
        ("error", [why, ..]) => Line::Failure { build: target.to_owned(), why: why.clone() },
        ("artifact", [_, key, _, path]) if key == "file" => Line::File { build: target.to_owned(), path: path.clone() },
        ("artifact", [index, key, rest @ ..]) => Line::Artifact {
            build: target.to_owned(),
            index: index.clone(),
            key: key.clone(),
            value: rest.first().cloned().unwrap_or_default(),
        },
        ("version", [version]) => Line::Version(version.clone()),
        _ => Line::Other,
    }
}

/// Whether a line is packer's own, and not one of a program that it ran. It says nothing before it has read its
/// template.
pub(super) fn is_of_packer(text: &str) -> bool {
    head(&mut text.split(',')).is_some()
}

fn head<'t>(fields: &mut impl Iterator<Item = &'t str>) -> Option<([&'t str; 3], Vec<String>)> {
    let time = fields.next()?;
    if time.len() < 9 || !time.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (target, kind) = (fields.next()?, fields.next()?);
    Some(([time, target, kind], fields.map(unescaped).collect()))
}

/// Packer's escapes: commas by a word of its own, ends of lines by a backslash.
fn unescaped(field: &str) -> String {
    field.replace("%!(PACKER_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
}

impl Line {
    /// The ID of a container that packer has started, to work in it.
    pub(super) fn container(&self) -> Option<&str> {
        let Self::Output(text) = self else { return None };
        text.split_once(": Container ID: ").map(|(_, id)| id.trim())
    }

    /// Whether packer has done its work in a container: what follows needs it no more.
    pub(super) fn leaves_container(&self) -> bool {
        const NEXT: [&str; 3] = [": Committing the container", ": Exporting the container", ": Discarding container"];
        matches!(self, Self::Text(text) if NEXT.iter().any(|next| text.contains(next)))
    }

    /// What it says to people.
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Output(text) | Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it tells what went on in the build: not what packer says of itself, nor its summary, which it
    /// writes as errors, too.
    pub(super) fn tells(&self) -> bool {
        const SUMMARY: [&str; 3] = ["Build '", "\n==> Some builds", "--> "];
        match self {
            Self::Output(_) => true,
            Self::Error(text) => !SUMMARY.iter().any(|beginning| text.starts_with(beginning)),
            _ => false,
        }
    }
}

/// What packer made, and what it complained of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    artifacts: BTreeMap<(String, String), BTreeMap<String, String>>,
    /// The files of artifacts, each once, with the build that made it first.
    files: Vec<(String, String)>,
    /// The image that was pulled last.
    pulled: Option<String>,
    /// Why builds failed.
    failures: Vec<String>,
    /// The first lines about what went wrong: also what scripts write to their standard error.
    errors: Vec<String>,
    /// A script of packer's was not there when it was to run.
    missed: bool,
}

/// What packer writes where a line of the template would stand: it never has one.
const NO_SOURCE: &str = "(source code not available)";
/// As many as a message could show by far.
const MOST_ERRORS: usize = 20;

impl Outcome {
    /// Takes a line into account.
    pub(super) fn add(&mut self, line: Line) {
        self.missed |= line.text().is_some_and(misses_script);
        match line {
            Line::Artifact { build, index, key, value } => {
                self.artifacts.entry((build, index)).or_default().insert(key, value);
            }
            Line::File { build, path } if self.files.iter().all(|(_, other)| *other != path) => {
                self.files.push((build, path));
            }
            Line::Text(text) => {
                let pulled = text.split_once(": Pulling Docker image: ").map(|(_, image)| image.trim().to_owned());
                self.pulled = pulled.or(self.pulled.take());
            }
            Line::Failure { build, why } if self.failures.len() < MOST_ERRORS => {
                self.failures.push(format!("{build}: {}", why.trim()));
            }
            Line::Error(text) if self.errors.len() < MOST_ERRORS => self.errors.push(text),
            _ => {}
        }
    }

    /// The image that it pulled last.
    pub(super) fn pulled(&self) -> Option<&str> {
        self.pulled.as_deref()
    }

    /// Whether it could not pull that image.
    pub(super) fn has_not_pulled(&self, image: &str) -> bool {
        let is_about_pulling = |why: &String| why.contains("Error pulling Docker image");
        self.pulled.as_deref() == Some(image) && self.failures.iter().any(is_about_pulling)
    }

    /// Whether a script vanished between its upload and its run: a systemd that boots wipes `/tmp`, where packer puts
    /// it (upstream: corpusops `docker_build_chain` knows the same two signs).
    pub(super) fn has_lost_script(&self) -> bool {
        self.missed && self.failures.iter().any(|why| why.contains("Script exited with non-zero exit status: 127"))
    }

    /// Whether it waited in vain for a machine to let it in, or to end.
    pub(super) fn has_lost_machine(&self) -> bool {
        const SIGNS: [&str; 3] = ["imeout waiting for", "imeout while waiting for", "rror waiting for"];
        self.failures.iter().any(|why| SIGNS.iter().any(|sign| why.contains(sign)))
    }

    /// The files of its artifacts, by their paths from where it ran, each with the build that made it.
    pub(super) fn files(&self) -> &[(String, String)] {
        &self.files
    }

    /// What it complained of, in one line: why builds failed, or else all that it said about errors.
    pub(super) fn complaint(&self) -> String {
        let texts = if self.failures.is_empty() { &self.errors } else { &self.failures };
        let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
        lines.filter(|line| !line.is_empty() && *line != NO_SOURCE).collect::<Vec<_>>().join(" ")
    }

    /// The images that it made, by what the engine calls them, each with the build that made it. An artifact
    /// of another kind, such as a file, is left out.
    pub(super) fn images(&self) -> Vec<(&str, &str)> {
        let is_image =
            |builder: &String| builder == "packer.docker" || builder.starts_with("packer.post-processor.docker");
        let made = self.artifacts.iter().filter(|(_, about)| about.get("builder-id").is_some_and(is_image));
        made.filter_map(|((build, _), about)| Some((build.as_str(), about.get("id")?.as_str()))).collect()
    }

    /// The names of the builds that made something else.
    pub(super) fn others(&self) -> Vec<String> {
        let images = self.images();
        let about = |((build, _), about): (&(String, String), &BTreeMap<String, String>)| {
            let what = about.get("string").or_else(|| about.get("builder-id"))?;
            (!images.iter().any(|(other, _)| other == build)).then(|| format!("{build}: {what}"))
        };
        self.artifacts.iter().filter_map(about).collect()
    }
}

/// What dash, bash and busybox say of a script that is not there; not what a script says of a program.
fn misses_script(text: &str) -> bool {
    let of_script = text.split("/tmp/script_").skip(1);
    let mut told = of_script
        .filter_map(|rest| rest.trim_start_matches(|digit: char| digit.is_ascii_digit()).strip_prefix(".sh: "));
    told.any(|told| told.starts_with("not found") || told.starts_with("No such file or directory"))
}

#[cfg(test)]
mod tests;
