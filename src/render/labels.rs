//! What says whose a pod is, and its Secret.

use std::collections::BTreeMap;

use super::attempt::Attempt;
use crate::api::{
    ATTEMPT_LABEL, BUILD_LABEL, BUILD_NAMESPACE_LABEL, BUILD_UID_LABEL, CHAIN_LABEL, LINK_LABEL, MANAGED_BY,
    MANAGED_BY_LABEL, PROFILE_LABEL,
};

/// The labels of an attempt's objects.
pub(super) fn labels(attempt: &Attempt<'_>) -> BTreeMap<String, String> {
    let number = attempt.number.to_string();
    let mut labels = vec![
        (MANAGED_BY_LABEL, MANAGED_BY),
        (BUILD_NAMESPACE_LABEL, attempt.namespace),
        (BUILD_LABEL, attempt.name),
        (BUILD_UID_LABEL, attempt.uid),
        (ATTEMPT_LABEL, number.as_str()),
        (PROFILE_LABEL, attempt.profile_name),
    ];
    if let Some((chain, link)) = attempt.link {
        labels.extend([(CHAIN_LABEL, chain), (LINK_LABEL, link)]);
    }
    labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}
