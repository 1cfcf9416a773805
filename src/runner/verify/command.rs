//! A program of the user's as a test step: its exit code decides.

use super::tool::Tool;

/// The step with that program and these arguments.
pub(super) fn tool(arguments: &[String]) -> Tool {
    Tool { runs: arguments.join(" "), ..Tool::new("command", arguments.to_vec()) }
}
