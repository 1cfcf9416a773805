//! What follows from an event of a Secret or `ConfigMap` that chains or builds name.

use crate::runtime::{
    context::Context,
    named::{Object, User},
};

pub(super) fn on_event(context: &Context, object: &Object) {
    for user in context.stores.named.users_of(object) {
        match user {
            User::Chain(key) => context.queues.chains.add(key),
            User::Build(key) => context.queues.builds.add(key),
        }
    }
}
