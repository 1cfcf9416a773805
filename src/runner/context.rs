//! What every stage works with: its job, the places of its container, its log and its programs.

use std::{collections::BTreeMap, fs};

use super::{log::Log, places::Places, process::Processes, report::local};
use crate::{
    api::condition::Reason,
    plan::{failure::Failure, job::Job},
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
        let mut log = Log::default();
        log.hide(secrets(&job));
        Ok(Self { job, places: places.clone(), log, processes: Processes::default() })
    }
}

/// The values that must not be shown, of those that this container sees.
fn secrets(job: &Job) -> Vec<String> {
    let variables = job.packer.secret_variables.iter().filter_map(|path| fs::read_to_string(path).ok());
    let values = variables.filter_map(|json| serde_json::from_str(&json).ok());
    let values = values.flat_map(BTreeMap::<String, String>::into_values);
    let paths = job.verify.iter().flat_map(|step| step.secret_environment.values());
    values.chain(paths.filter_map(|path| fs::read_to_string(path).ok())).collect()
}
