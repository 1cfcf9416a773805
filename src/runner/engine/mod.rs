//! The container engine of a build: dockerd with a tree of control groups of its own, and an init above it.
//! It is restarted by the kubelet whenever it ends; but then all that it held is gone, so that every stage
//! makes sure that it is still the same.

mod advice;
mod cgroup;
mod daemon;
mod docker;
mod events;
mod info;
mod marker;
mod refusal;
mod shim;
mod socket;
mod start;
mod unshare;
mod watch;

use std::{
    fs, io,
    os::unix::net::UnixStream,
    process::{Command, ExitCode},
    time::Duration,
};

use tokio::{
    runtime,
    time::{Instant, interval},
};

pub(super) use self::{
    daemon::HUB,
    docker::Image,
    events::{Containers, explained},
    refusal::of_pull,
    watch::{Seen, Watch},
};
use self::{docker::Docker, marker::Marker};
use super::{context::Context, init, places::Places, process::ending};
use crate::{
    api::condition::Reason,
    outcome::pod::ENGINE_UNAVAILABLE,
    plan::{failure::Failure, job::Job},
};

/// The engine of a build, as stages use it. Stages make it by `Engine::of` alone: that is where a job chooses the
/// kind of engine. A second kind is a file beside `docker.rs`, and this name then an enum of both.
pub(super) type Engine<'c> = Docker<'c>;

/// How long dockerd has to end its containers and itself: it takes 10 s for containers, then kills them.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often it is asked whether it is ready.
const STARTING: Duration = Duration::from_millis(100);
/// How often a stage looks whether it lives, and how often in a row it may seem not to.
const LOOKING: (Duration, u32) = (Duration::from_secs(2), 3);
/// Where the first stage that uses it keeps which one it was.
const KNOWN: &str = "engine";

/// Runs the engine until the pod ends.
pub(super) fn run(places: &Places) -> ExitCode {
    let result = prepare(places).and_then(|(command, marker)| serve(command, &marker, places));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Ended { code, text }) => {
            eprintln!("imagechain: {text}");
            // The exit code alone says the class; the text is for people.
            let _ = fs::write(&places.termination, text);
            ExitCode::from(code)
        }
    }
}

/// Why the engine ended.
struct Ended {
    code: u8,
    text: String,
}

/// Of this node or profile no engine can be made: no further attempt helps.
fn unavailable(text: impl Into<String>) -> Ended {
    Ended { code: u8::try_from(ENGINE_UNAVAILABLE).unwrap_or(u8::MAX), text: text.into() }
}

fn failed(text: impl Into<String>) -> Ended {
    Ended { code: 1, text: text.into() }
}

fn prepare(places: &Places) -> Result<(Command, Marker), Ended> {
    let unreadable = |error: &dyn std::fmt::Display| failed(format!("the job cannot be read: {error}"));
    let text = fs::read_to_string(&places.job).map_err(|error| unreadable(&error))?;
    let job = Job::parse(&text).map_err(|error| unreadable(&error))?;
    // Those of an engine that ended: nobody may take it for this one.
    for path in [places.marker(), places.socket()] {
        let _ = fs::remove_file(path);
    }
    let marker = shim::enter().map_err(unavailable)?;
    let unwritable = |error: io::Error| failed(format!("the engine's files cannot be written: {error}"));
    fs::create_dir_all(daemon::FOLDER).map_err(unwritable)?;
    fs::write(format!("{}/daemon.json", daemon::FOLDER), daemon::config().to_string()).map_err(unwritable)?;
    marker.write(&places.marker()).map_err(unwritable)?;
    Ok((command(&job, places), marker))
}

fn command(job: &Job, places: &Places) -> Command {
    let mut command = Command::new("dockerd");
    command.args(daemon::arguments(&job.registry, &places.socket(), mtu()));
    command.envs(daemon::environment(&job.network.proxy, &places.secrets));
    command
}

/// That of the pod's network: larger packets of containers would be lost.
fn mtu() -> Option<u32> {
    let routes = fs::read_to_string("/proc/net/route").ok()?;
    let interface = daemon::default_interface(&routes)?;
    fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).ok()?.trim().parse().ok()
}

fn serve(mut command: Command, marker: &Marker, places: &Places) -> Result<(), Ended> {
    let mut unfit = None;
    let stop = async {
        match ready(marker, places).await {
            Ok(()) => std::future::pending().await,
            Err(why) => unfit = Some(why),
        }
    };
    let ended = init::run(&mut command, Some(PATIENCE), stop).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => unavailable(
            "dockerd not found in the engine image: install it there, or name another image in the profile (images.engine)",
        ),
        _ => failed(format!("dockerd cannot be started: {error}")),
    })?;
    match unfit {
        Some(why) => Err(unavailable(why)),
        None if ended.asked => Ok(()),
        None => Err(failed(format!("dockerd ended by itself with {}", ending(ended.status)))),
    }
}

/// Waits until dockerd answers, and looks whether it fits.
async fn ready(marker: &Marker, places: &Places) -> Result<(), String> {
    let began = Instant::now();
    let mut ticks = interval(STARTING);
    let info = loop {
        ticks.tick().await;
        if let Ok(info) = info::ask(&places.socket()).await {
            break info;
        }
    };
    info::check(marker, &info)?;
    println!(
        "imagechain: the engine is ready after {:.1} s: docker {}, storage driver {}, {}",
        began.elapsed().as_secs_f64(),
        info.server_version,
        info.driver,
        serde_json::to_string(marker).unwrap_or_default(),
    );
    if info.driver == "vfs" {
        println!("imagechain: warning: the storage driver vfs copies every layer: builds are slow and need much disk");
    }
    Ok(())
}

/// Says by the exit code whether the engine is ready.
pub(super) fn check(places: &Places) -> ExitCode {
    let state = runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string());
    match state.and_then(|runtime| runtime.block_on(fits(places))) {
        Ok(_) => ExitCode::SUCCESS,
        Err(why) => {
            println!("{why}");
            ExitCode::FAILURE
        }
    }
}

async fn fits(places: &Places) -> Result<Marker, String> {
    let marker = Marker::read(&places.marker()).map_err(|error| format!("the engine has not begun: {error}"))?;
    let info = info::ask(&places.socket()).await.map_err(|error| format!("the engine does not answer: {error}"))?;
    info::check(&marker, &info)?;
    Ok(marker)
}

/// The engine that a stage works with, by its instance. All stages must find the same.
///
/// # Errors
/// It is not there, does not fit, or is another than that of the stage before.
pub(super) async fn expect(context: &Context) -> Result<String, Failure> {
    let marker = fits(&context.places).await.map_err(|why| Failure::new(Reason::EngineRestarted, why))?;
    let known = context.places.state().join(KNOWN);
    match fs::read_to_string(&known) {
        Ok(before) if before != marker.instance => Err(Failure::new(Reason::EngineRestarted, RESTARTED)),
        Ok(_) => Ok(marker.instance),
        Err(_) => {
            let written = fs::write(&known, &marker.instance);
            written.map_err(|error| super::report::local("the workspace cannot be written", &error))?;
            Ok(marker.instance)
        }
    }
}

const RESTARTED: &str = "the engine was restarted during the build: what it held is gone";

/// Whether the engine lives, and is still that one.
///
/// # Errors
/// It is not.
pub(super) fn look(places: &Places, instance: &str) -> Result<(), String> {
    match Marker::read(&places.marker()) {
        Ok(marker) if marker.instance != instance => return Err(RESTARTED.to_owned()),
        _ => {}
    }
    match UnixStream::connect(places.socket()) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("the engine has ended during the build: {error}")),
    }
}

/// Ends when the engine is gone, with what there is to say.
pub(super) async fn gone(places: &Places, instance: &str) -> String {
    let (pause, most) = LOOKING;
    let (mut ticks, mut misses) = (interval(pause), 0);
    loop {
        ticks.tick().await;
        match look(places, instance) {
            Ok(()) => misses = 0,
            Err(why) if why == RESTARTED || misses + 1 >= most => return why,
            Err(_) => misses += 1,
        }
    }
}
