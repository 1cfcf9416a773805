//! Pods: they go from stage to stage, and end as what they build says, unless they are lost before.

use imagechain::{
    api::{
        build::{Container, Stage, StageStatus},
        condition::Reason,
    },
    plan::{
        failure::Failure,
        observed::{Observation, Placement, Report, State},
    },
};
use k8s_openapi::jiff::Timestamp;

use super::{STAGING, World, content, digest};

/// How a pod is lost before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is not.
    None,
    /// Its node is drained.
    Disrupted,
    /// Somebody deletes it.
    Deleted,
    /// The registry cannot be reached from it.
    Registry,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub build: String,
    pub build_uid: String,
    pub attempt: i32,
    pub created: Timestamp,
    /// How far it is: 0 waits, 1 builds, 2 has ended.
    pub phase: u8,
    pub loss: Loss,
    /// Whether what it has built could not be built: told once it has ended.
    pub broken: bool,
}

impl Pod {
    pub const fn lives(&self) -> bool {
        self.phase < 2
    }

    /// What can be seen of it.
    pub fn seen(&self, world: &World) -> Observation {
        let state = match self.phase {
            0 => State::Waiting { stage: None, since: None, held: None },
            1 => State::Running(Stage::Build),
            _ => self.end(),
        };
        let reports = if state == State::Succeeded { self.reports(world) } else { Vec::new() };
        let started = StageStatus { name: Stage::Build, started_at: Some(self.created.into()), finished_at: None };
        let stages = if self.phase == 0 { Vec::new() } else { vec![started] };
        let placement = match self.phase {
            0 => Placement::Open,
            _ => Placement::Placed { since: Some(self.created) },
        };
        Observation { state, placement, over: self.phase == 2, deleting: None, stages, reports }
    }

    fn end(&self) -> State {
        let failed =
            |container, reason, message: &str| State::Failed(Failure { container, ..Failure::new(reason, message) });
        match self.loss {
            Loss::Disrupted => failed(Some(Container::Build), Reason::PodDisrupted, "the node is drained"),
            Loss::Registry => {
                failed(Some(Container::Publish), Reason::RegistryUnavailable, "the registry does not answer")
            }
            Loss::None | Loss::Deleted if self.broken => {
                failed(Some(Container::Build), Reason::TaskFailed, "«nginx : start» failed: port 80 is in use")
            }
            Loss::None | Loss::Deleted => State::Succeeded,
        }
    }

    /// Whether what it builds cannot be built.
    fn is_broken(&self, world: &World) -> bool {
        let Some(build) = world.builds.get(&self.build) else { return false };
        let link = build.spec.chain_ref.as_ref().map_or("", |chain| chain.link.0.as_str());
        let revision = build.spec.inputs.as_ref().map_or("", |inputs| inputs.revision.as_str());
        let version = world.commits.get(revision).and_then(|files| files.get(link)).copied().unwrap_or_default();
        world.broken.contains(&(link.to_owned(), version))
    }

    /// The digest of what it makes.
    pub fn digest(&self, world: &World) -> Option<String> {
        let build = world.builds.get(&self.build)?;
        let (chain, inputs) = (build.spec.chain_ref.as_ref()?, build.spec.inputs.as_ref()?);
        Some(content(&chain.link.0, inputs, &serde_json::to_string(&build.spec.build).unwrap()))
    }

    fn reports(&self, world: &World) -> Vec<Report> {
        let digest_made = self.digest(world).unwrap_or_else(|| digest(&["nothing"]));
        let image_id = digest(&["id of", &digest_made]);
        let report = |stage: Stage| Report {
            stage,
            failure: None,
            content: Some(image_id.clone()),
            repository: (stage == Stage::Publish).then(|| STAGING.to_owned()),
            digest: (stage == Stage::Publish).then(|| digest_made.clone()),
            size: Some(1),
            verification: Vec::new(),
            left_out: Vec::new(),
        };
        vec![report(Stage::Build), report(Stage::Verify), report(Stage::Publish)]
    }
}

/// Every pod goes one step further.
pub fn progress(world: &mut World) {
    world.pods.retain(|pod| pod.loss != Loss::Deleted || pod.phase == 0);
    for index in 0..world.pods.len() {
        advance(world, index);
    }
}

/// One pod goes one step further.
pub fn advance(world: &mut World, index: usize) {
    let mut pod = world.pods[index].clone();
    if !pod.lives() {
        return;
    }
    pod.phase += 1;
    pod.broken = !pod.lives() && pod.is_broken(world);
    if !pod.lives() && pod.end() == State::Succeeded {
        world.staged.extend(pod.digest(world));
        world.pushed.extend(pod.digest(world));
    }
    world.pods[index] = pod;
}
