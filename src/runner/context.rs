//! What every stage works with: its job, the places of its container, its log and its programs.

use std::{collections::BTreeMap, fs};

use super::{log::Log, places::Places, process::Processes, report::local};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, job::Job, recipe::SecretContent},
};

/// What a stage works with.
pub(super) struct Context {
    pub(super) job: Job,
    pub(super) places: Places,
    pub(super) log: Log,
    pub(super) processes: Processes,
}

impl Context {
    /// Reads the job of a container. The log hides the secrets of that job from then on.
    ///
    /// # Errors
    /// The file cannot be read, or is no job of this version.
    pub(super) fn read(places: &Places) -> Result<Self, Failure> {
        let text = fs::read_to_string(&places.job).map_err(|error| local("the job cannot be read", &error))?;
        let job = Job::parse(&text).map_err(|error| Failure::new(Reason::SpecInvalid, error.to_string()))?;
        let log = Log::hiding(secrets(&job, places));
        Ok(Self { job, places: places.clone(), log, processes: Processes::default() })
    }

    /// That of a test, with all its places below a folder, and the programs of this machine.
    #[cfg(test)]
    pub(super) fn below(folder: &std::path::Path) -> Self {
        let job = serde_json::json!({
            "format": 2, "build": "web", "attempt": 1,
            "source": {"files": "/f"}, "revision": "1", "files": "",
            "steps": {
                "build": {"packer": {
                    "template": "a.json", "variables": {}, "variableFiles": [], "only": [], "except": [],
                }},
                "verify": [],
            },
            "engine": "Docker", "image": "imagechain.local/web:1",
            "staging": {"repository": "r.example/a", "tag": "1"},
            "registry": {"platform": "linux/amd64", "mirrors": {}, "insecure": []},
            "timeouts": {"source": 60, "build": 60, "verify": 60, "publish": 60},
        });
        let job = Job::parse(&job.to_string()).unwrap();
        Self { job, places: Places::below(folder), log: Log::default(), processes: Processes::default() }
    }
}

/// The values that must not be shown, of those that this container sees.
fn secrets(job: &Job, places: &Places) -> Vec<String> {
    let files = job.steps.secret_files();
    let values = files.iter().filter_map(|file| {
        let text = fs::read_to_string(places.secrets.join(&file.path)).ok()?;
        match file.content {
            SecretContent::Json(_) => serde_json::from_str::<BTreeMap<String, String>>(&text).ok(),
            SecretContent::Value(_) => Some([(String::new(), text)].into()),
        }
    });
    values.flat_map(BTreeMap::into_values).collect()
}
