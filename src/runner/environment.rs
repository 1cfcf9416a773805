//! The environment of the user's programs: the container's own, and what they need here. Where they find an engine or a
//! machine is told besides.

use tokio::process::Command;

use super::{ansible, context::Context};

/// Sets it.
pub(super) fn prepare(command: &mut Command, context: &Context) {
    let temporary = context.places.temporary();
    // Packer's docker builder mounts them into containers, so the engine must see them under that path.
    command.env("TMPDIR", &temporary).env("PACKER_TMP_DIR", &temporary);
    command.env("PACKER_CACHE_DIR", temporary.join("packer_cache"));
    // Nobody asks a server of HashiCorp's whether there is a newer packer.
    command.env("CHECKPOINT_DISABLE", "1");
    // For people who read a log, and for us.
    command.env("NO_COLOR", "1").env("ANSIBLE_NOCOLOR", "1").env("PY_COLORS", "0").env("PYTHONUNBUFFERED", "1");
    command.env(ansible::REPORT_VARIABLE, ansible::report_file(context));
    // The files belong to the user that fetched them.
    command.env("GIT_CONFIG_COUNT", "1").env("GIT_CONFIG_KEY_0", "safe.directory").env("GIT_CONFIG_VALUE_0", "*");
}
