//! Conditions: set anew from the facts each time, with the times of those whose status stays.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

use crate::api::condition::{Class, ConditionType, Reason};

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It is being worked on.
    Unknown,
}

impl Truth {
    /// As it stands in a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// The conditions of a status in the making. What is not set is gone.
#[derive(Debug)]
pub struct Conditions<'a> {
    previous: &'a [Condition],
    next: Vec<(ConditionType, Condition)>,
    generation: i64,
    now: Timestamp,
}

impl<'a> Conditions<'a> {
    /// Begins, with those of the status before.
    #[must_use]
    pub const fn new(previous: &'a [Condition], generation: i64, now: Timestamp) -> Self {
        Self { previous, next: Vec::new(), generation, now }
    }

    /// Sets a condition. Its transition time moves only if its status does.
    pub fn set(&mut self, kind: ConditionType, truth: Truth, reason: Reason, message: &str) {
        let before = self.previous.iter().find(|each| each.type_ == kind.to_string() && each.status == truth.as_str());
        let condition = Condition {
            type_: kind.to_string(),
            status: truth.as_str().to_owned(),
            reason: reason.to_string(),
            message: message.to_owned(),
            last_transition_time: before.map_or(Time(self.now), |before| before.last_transition_time.clone()),
            observed_generation: Some(self.generation),
        };
        self.next.retain(|(each, _)| *each != kind);
        self.next.push((kind, condition));
    }

    /// Sets `Ready` and the one of `Reconciling` and `Stalled` that goes with it, by the rules of kstatus:
    /// ready, or at work, or in need of somebody.
    pub fn ready(&mut self, reason: Reason, message: &str) {
        match reason.class() {
            Class::Success => self.set(ConditionType::Ready, Truth::True, reason, message),
            Class::Progress | Class::Infrastructure if reason != Reason::InfrastructureRetriesExhausted => {
                self.at_work(reason, message);
            }
            _ => self.stalled(reason, message),
        }
    }

    /// Sets `Ready` of what goes on by itself, whatever the class of the reason.
    pub fn at_work(&mut self, reason: Reason, message: &str) {
        self.set(ConditionType::Ready, Truth::Unknown, reason, message);
        self.set(ConditionType::Reconciling, Truth::True, reason, message);
    }

    /// Sets `Ready` of what needs somebody.
    pub fn stalled(&mut self, reason: Reason, message: &str) {
        self.set(ConditionType::Ready, Truth::False, reason, message);
        self.set(ConditionType::Stalled, Truth::True, reason, message);
    }

    /// The conditions, in a fixed order.
    #[must_use]
    pub fn finish(mut self) -> Vec<Condition> {
        self.next.sort_by_key(|(kind, _)| *kind);
        self.next.into_iter().map(|(_, condition)| condition).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::invariant;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_transition_time_moves_only_with_the_status() {
        let set = |previous: &[Condition], truth: Truth, reason: Reason, second: i64| {
            let mut conditions = Conditions::new(previous, 1, at(second));
            conditions.set(ConditionType::Ready, truth, reason, "m");
            conditions.finish()
        };
        let first = set(&[], Truth::Unknown, Reason::Building, 1);
        let same = set(&first, Truth::Unknown, Reason::Verifying, 2);
        assert_eq!((same[0].last_transition_time.0, same[0].reason.as_str()), (at(1), "Verifying"));
        let other = set(&same, Truth::True, Reason::TestsPassed, 3);
        assert_eq!(other[0].last_transition_time.0, at(3));
    }

    #[test]
    fn every_reason_makes_a_status_that_holds_the_rules() {
        for reason in Reason::ALL {
            let mut conditions = Conditions::new(&[], 3, at(1));
            conditions.ready(*reason, "what and why");
            assert_eq!(invariant::violations(&conditions.finish(), 3, 3, at(1)), Vec::<String>::new(), "{reason}");
        }
    }
}
