//! Programs of the builder image that make boxes.

use tokio::process::Command;

use crate::{
    api::condition::Reason,
    plan::{failure::Failure, text::truncate_middle},
    runner::{
        context::Context,
        environment, network,
        process::{Tail, ending, killed},
    },
};

/// Runs a program, and shows what it says.
///
/// # Errors
/// It is not there, or it failed: with its last lines.
pub(super) async fn run(
    context: &Context,
    program: &str,
    arguments: &[&str],
    variables: &[(&str, String)],
) -> Result<(), Failure> {
    let mut command = Command::new(program);
    command.args(arguments);
    environment::prepare(&mut command, context);
    network::prepare(&mut command, context, false);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let mut tail = Tail::default();
    let mut lines = |line: &str| {
        context.log.line(line);
        tail.push(line);
    };
    let status = context.processes.run(command, &mut lines).await?;
    if status.success() {
        return Ok(());
    }
    if let Some(failure) = killed(program, status) {
        return Err(failure);
    }
    let message = format!("{program} ended with {}: {}", ending(status), truncate_middle(&tail.last(4), 600));
    Err(Failure::new(Reason::BuildFailed, message))
}
