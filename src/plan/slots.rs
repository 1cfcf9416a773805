//! Who may begin an attempt now, where only so many builds may run at once: those of a chain (its
//! `parallelism`), those of a profile (its `maxConcurrentBuilds`).

use std::collections::BTreeSet;

use k8s_openapi::jiff::Timestamp;

/// A build that is not finished, as one of those that share a limit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Contender<'a> {
    /// When the build was made.
    pub created: Timestamp,
    /// Its name with its namespace: unique among those that share the limit.
    pub name: &'a str,
    /// Whether it has a slot: a pod of it may run. A pod that was made but does not show in the caches yet
    /// counts too, or another build would be let in for it.
    pub holds: bool,
    /// Whether it would make a pod now ([`super::build::wants_pod`]): neither is it stalled, nor in a pause.
    pub wants: bool,
}

/// Who may begin: of those that want a slot and hold none the oldest, as long as slots are free. A build that
/// does not want one keeps nobody waiting, and nobody who is younger comes before one who waits.
#[must_use]
pub fn admitted<'a>(limit: u32, contenders: &[Contender<'a>]) -> BTreeSet<&'a str> {
    let held = contenders.iter().filter(|each| each.holds).count();
    let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(held);
    let mut waiting: Vec<_> = contenders.iter().filter(|each| each.wants && !each.holds).collect();
    waiting.sort_unstable();
    waiting.into_iter().take(free).map(|each| each.name).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn contender(name: &str, created: i64, holds: bool, wants: bool) -> Contender<'_> {
        Contender { created: Timestamp::from_second(created).unwrap(), name, holds, wants }
    }

    #[test]
    fn the_oldest_that_wait_come_first() {
        let all = [
            contender("a/young", 9, false, true),
            contender("a/paused", 1, false, false),
            contender("b/old", 2, false, true),
            contender("a/runs", 3, true, false),
            contender("a/ends", 1, true, true),
            contender("a/old", 2, false, true),
        ];
        for (limit, expected) in
            [(0, &[][..]), (2, &[]), (3, &["a/old"]), (4, &["a/old", "b/old"]), (9, &["a/old", "a/young", "b/old"])]
        {
            assert_eq!(Vec::from_iter(admitted(limit, &all)), expected, "limit {limit}");
        }
    }

    /// Builds of some ages that hold or want slots, by name.
    fn any_builds() -> impl Strategy<Value = Vec<(String, i64, bool, bool)>> {
        let build = (0_i64..4, any::<bool>(), any::<bool>());
        proptest::collection::btree_map("[a-z]{2}", build, 0..12).prop_map(|all| {
            all.into_iter().map(|(name, (created, holds, wants))| (name, created, holds, wants)).collect()
        })
    }

    fn contenders(builds: &[(String, i64, bool, bool)]) -> Vec<Contender<'_>> {
        builds.iter().map(|(name, created, holds, wants)| contender(name, *created, *holds, *wants)).collect()
    }

    proptest! {
        #[test]
        fn the_limit_holds_and_no_slot_is_left_to_nobody(
            builds in any_builds(), limit in 0_u32..8,
            order in any::<prop::sample::Index>(),
        ) {
            let all = contenders(&builds);
            let admitted = super::admitted(limit, &all);
            let held = all.iter().filter(|each| each.holds).count();
            let waiting = all.iter().filter(|each| each.wants && !each.holds).count();
            let free = (limit as usize).saturating_sub(held);
            prop_assert_eq!(admitted.len(), free.min(waiting));
            for each in &all {
                prop_assert!(!admitted.contains(each.name) || each.wants && !each.holds);
                let passed_by = all.iter().any(|other| {
                    other.wants && !other.holds && other < each && !admitted.contains(other.name)
                });
                prop_assert!(!(admitted.contains(each.name) && passed_by), "an older one waits for {}", each.name);
            }
            let mut turned = all.clone();
            if !turned.is_empty() {
                turned.rotate_left(order.index(all.len()));
                turned.reverse();
            }
            prop_assert_eq!(super::admitted(limit, &turned), admitted);
        }

        /// Each that was let in holds its slot for one turn, then is done: all come to their turn, the older
        /// before the younger, and never more at once than the limit allows.
        #[test]
        fn nobody_waits_for_ever(builds in any_builds(), limit in 1_u32..4) {
            let mut builds: Vec<_> = builds.into_iter().map(|(name, created, _, _)| (name, created, false, true)).collect();
            let mut left: Vec<String> = Vec::new();
            let mut expected: Vec<_> = builds.iter().map(|(name, created, ..)| (*created, name.clone())).collect();
            expected.sort();
            for _ in 0..=builds.len() {
                let ended: Vec<String> = builds.iter().filter(|each| each.2).map(|each| each.0.clone()).collect();
                builds.retain(|each| !each.2);
                left.extend(ended);
                let let_in: Vec<String> =
                    admitted(limit, &contenders(&builds)).into_iter().map(ToOwned::to_owned).collect();
                prop_assert!(let_in.len() <= limit as usize);
                for build in builds.iter_mut().filter(|each| let_in.contains(&each.0)) {
                    build.2 = true;
                }
            }
            prop_assert!(builds.is_empty());
            for (index, name) in left.iter().enumerate() {
                // Those of one turn leave together.
                let place = expected.iter().position(|(_, each)| each == name).unwrap();
                prop_assert!(place.abs_diff(index) < limit as usize);
            }
        }
    }
}
