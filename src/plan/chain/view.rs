//! One link while its chain is looked at: what is found of it, and what its status will say.

use k8s_openapi::jiff::Timestamp;

use super::{facts::BuildFacts, scene::Correction};
use crate::{
    api::{
        build::Inputs,
        chain::{LinkState, Published, Verified},
        condition::{Class, Reason},
    },
    plan::{
        image::Tag,
        lookup::{Answer, Known},
        recipe::Destination,
        valid::ValidLink,
    },
};

/// Why a link does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    state: LinkState,
    reason: Reason,
    message: String,
}

impl Hold {
    pub fn new(state: LinkState, reason: Reason, message: impl Into<String>) -> Self {
        Self { state, reason, message: message.into() }
    }

    /// By the class of the reason: it passes by itself, or somebody must act.
    pub fn by_class(reason: Reason, message: String) -> Self {
        let passes = matches!(reason.class(), Class::Infrastructure | Class::Progress);
        Self::new(if passes { LinkState::Pending } else { LinkState::Stalled }, reason, message)
    }

    /// A link that waits for another that has failed.
    pub fn of_parent(parent: &str) -> Self {
        let message = format!("it stands on «{parent}», which cannot go on");
        Self::new(LinkState::Blocked, Reason::ParentFailed, message)
    }
}

/// The value, or why the link cannot go on without it.
pub(super) fn known<T>(known: Known<T>, what: &str) -> Result<T, Hold> {
    match known {
        Known::Value(value) => Ok(value),
        Known::Pending => Err(Hold::new(LinkState::Pending, Reason::LookingUp, format!("{what} is being looked up"))),
        Known::Failed(failure) => Err(Hold::by_class(failure.reason, failure.message)),
    }
}

/// What comes next for a link that nothing holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing: its image is verified, and where it belongs.
    Ready,
    /// Its build is to be made as soon as there is a place for it.
    Due,
    /// A build of it is under way, and says this of itself.
    Running(Reason, String),
    /// Its image is verified, and its tags are to be moved.
    Publish,
}

/// The inputs that a link is to be built from, and the build for them.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub name: String,
    pub inputs: Inputs,
}

/// One link.
#[derive(Clone, Debug)]
pub(super) struct View<'a> {
    pub link: &'a ValidLink,
    /// Its place in the chain.
    pub index: usize,
    /// The hash of what is written for it alone.
    pub written: String,
    /// The same with what it stands on.
    pub recipe: String,
    pub wanted: Option<Wanted>,
    /// Whether the wanted build is to be made.
    pub due: bool,
    /// The image of the wanted inputs.
    pub current: Option<Verified>,
    /// The image that was verified last.
    pub verified: Option<Verified>,
    pub published: Option<Published>,
    /// What became of the promotion that is wanted.
    pub promoted: Option<Answer>,
    pub state: LinkState,
    pub reason: Option<Reason>,
    pub message: String,
    pub build: Option<String>,
    pub files: Option<String>,
    /// Since when something that it names is missing.
    pub lacking_since: Option<Timestamp>,
    /// What puts its published tags back.
    pub correction: Option<Correction>,
    /// Why they could not be put back.
    pub trouble: Option<String>,
}

impl View<'_> {
    pub fn hold(&mut self, hold: Hold) {
        (self.state, self.reason, self.message) = (hold.state, Some(hold.reason), hold.message);
    }

    /// Takes over what was found.
    pub fn settle(&mut self, judged: Result<Judgement, Hold>) {
        self.due = judged == Ok(Judgement::Due);
        self.hold(match judged {
            Ok(Judgement::Ready) => {
                (self.state, self.reason, self.message) = (LinkState::Ready, None, String::new());
                return;
            }
            Ok(Judgement::Due) => Hold::new(LinkState::Queued, Reason::WaitingForSlot, "its build is due"),
            Ok(Judgement::Running(reason, message)) => Hold::new(LinkState::Building, reason, message),
            Ok(Judgement::Publish) => Hold::new(LinkState::Publishing, Reason::Promoting, "its tags are being moved"),
            Err(hold) => hold,
        });
    }

    /// The name of the build that is wanted.
    pub fn name(&self) -> Option<&str> {
        self.wanted.as_ref().map(|wanted| wanted.name.as_str())
    }

    pub fn wants(&self, build: &BuildFacts) -> bool {
        self.name() == Some(&build.name)
    }

    /// Whether it, or one that it stands on, cannot go on until somebody acts.
    pub fn fails(&self) -> bool {
        matches!(self.state, LinkState::Failed | LinkState::Stalled)
            || matches!(self.reason, Some(Reason::ParentFailed | Reason::ChainStopped))
    }

    /// Whether the image of the present generation is where it belongs, even if it is to be rebuilt.
    pub fn is_settled(&self) -> bool {
        match &self.link.recipe.publish {
            Some(publish) => self
                .published
                .as_ref()
                .is_some_and(|published| published.recipe == self.recipe && place_of(publish, published).is_some()),
            None => self.verified.as_ref().is_some_and(|verified| verified.recipe == self.recipe),
        }
    }
}

/// Where a link is published now, if that is where it is asked for, whatever image it is of.
pub(super) fn place_of(wanted: &Destination, published: &Published) -> Option<Destination<Tag>> {
    let filled = wanted.filled(published.created.as_ref().map(|created| created.0));
    filled.filter(|filled| filled.is_of(published))
}
