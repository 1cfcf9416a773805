//! What is measured, in which order. The floor comes first and is removed again; the two never run at once.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{
    audit::{Log, Who},
    floor,
    kubelet::Place,
    measure::{Done, measured},
    process::{Program, major_faults, processor_time},
    scene::{Scene, Sizes, TENANT, Work},
    support::chart::BUILDS,
    table::{self, Row},
};

/// How long a stage of a pod takes where pods take time; there are four.
const STAGE: Duration = Duration::from_millis(250);

/// How often it is started with all builds there: one start alone says little of the next.
const RESTARTS: usize = 3;
/// How the names begin of chains whose hand-offs are measured.
const TOGETHER: &str = "slow";
const ALONE: &str = "single";

/// What a controller was measured at.
struct Figures {
    /// Pods that take no time.
    quick: Done,
    /// Chains that hand over at once; pods that take a second.
    slow: Done,
    /// Memory after that, and the most.
    memory: (f64, f64),
}

/// What only the operator was measured at.
struct Alone {
    /// Memory before there was any object.
    idle: f64,
    /// Links that are only staged, until there are enough builds.
    staged: Done,
    /// Memory with all builds and pods, and the most so far.
    full: (f64, f64),
    /// A time at which nothing was to be done.
    rest: (Timestamp, Timestamp),
}

/// A start with many finished builds.
struct Restart {
    /// From when to when it was the leader.
    span: (Timestamp, Timestamp),
    /// Until nothing is asked any more, in seconds.
    quiet: f64,
    requests: BTreeMap<String, u64>,
    /// In milliseconds, until it was quiet.
    processor_time: f64,
    /// Pages that had to come from the disk.
    faults: f64,
    memory: (f64, f64),
    /// Without that of files.
    own_memory: f64,
}

/// Measures everything and prints it.
pub async fn run(sizes: &Sizes) {
    told("servers and chart");
    let scene = Scene::start().await;
    let floor = measure_floor(&scene, sizes).await;
    told("the operator at rest");
    let operator = Program::operator(&scene.kubeconfig);
    operator.quiet().await;
    let idle = operator.memory().0;
    let ours = figures(&scene, (Who::Operator, &operator), TENANT, sizes).await;
    let alone = measure_alone(&scene, &operator, sizes, idle).await;
    operator.end();
    // As those of builds that ended a while ago.
    scene.without_pods(BUILDS).await;
    let mut restarts = Vec::new();
    for ordinal in 1..=RESTARTS {
        told(&format!("start {ordinal} of {RESTARTS}"));
        restarts.push(restart(&scene, ordinal).await);
    }
    print(&scene, sizes, &floor, &ours, &alone, &restarts);
}

/// Progress, for whoever waits.
fn told(what: &str) {
    eprintln!("{} {what}", Timestamp::now().strftime("%H:%M:%S"));
}

async fn measure_floor(scene: &Scene, sizes: &Sizes) -> Figures {
    let program = Program::floor(&scene.kubeconfig);
    let figures = figures(scene, (Who::Floor, &program), floor::NAMESPACE, sizes).await;
    drop(program);
    scene.without_floor().await;
    figures
}

async fn figures(scene: &Scene, (who, program): (Who, &Program), namespace: &'static str, sizes: &Sizes) -> Figures {
    let work = |prefix, chains, links| Work { namespace, prefix, chains, links, publish: true };
    told(&format!("{who:?}: warm up"));
    scene.work(work("warm", 5, 2)).await;
    told(&format!("{who:?}: {} chains of {} links", sizes.chains, sizes.links));
    let quick = measured(scene, (who, program), work("quick", sizes.chains, sizes.links)).await;
    told(&format!("{who:?}: {} chains of {} links, whose pods take time", sizes.hand_off.0, sizes.hand_off.1));
    scene.kubelet.stages_take(STAGE);
    let slow = measured(scene, (who, program), work(TOGETHER, sizes.hand_off.0, sizes.hand_off.1)).await;
    told(&format!("{who:?}: one such chain alone"));
    scene.work(work(ALONE, 1, sizes.hand_off.1)).await;
    scene.kubelet.stages_take(Duration::ZERO);
    Figures { quick, slow, memory: program.memory() }
}

async fn measure_alone(scene: &Scene, operator: &Program, sizes: &Sizes, idle: f64) -> Alone {
    let made = 10 + sizes.chains * sizes.links + (sizes.hand_off.0 + 1) * sizes.hand_off.1;
    let chains = (sizes.builds - made).div_ceil(sizes.links);
    told(&format!("{chains} chains more, which are not published"));
    let work = Work { namespace: TENANT, prefix: "staged", chains, links: sizes.links, publish: false };
    let staged = measured(scene, (Who::Operator, operator), work).await;
    operator.quiet().await;
    let from = Timestamp::now();
    told("nothing to do");
    sleep(sizes.rest).await;
    Alone { idle, staged, full: operator.memory(), rest: (from, Timestamp::now()) }
}

/// Starts an operator, lets a chain come meanwhile, and ends it as Kubernetes does.
async fn restart(scene: &Scene, ordinal: usize) -> Restart {
    let prefix = format!("later{ordinal}");
    let work = Work { namespace: TENANT, prefix: &prefix, chains: 1, links: 1, publish: true };
    let (begin, clock) = (Timestamp::now(), Instant::now());
    let operator = Program::operator(&scene.kubeconfig);
    let ((since, requests), ()) = tokio::join!(operator.quiet(), scene.work(work));
    let restart = Restart {
        span: (begin, Timestamp::now()),
        quiet: since.duration_since(clock).as_secs_f64(),
        requests,
        processor_time: processor_time(operator.id()),
        faults: major_faults(operator.id()),
        memory: operator.memory(),
        own_memory: operator.own_memory(),
    };
    operator.end();
    restart
}

fn print(scene: &Scene, sizes: &Sizes, floor: &Figures, ours: &Figures, alone: &Alone, restarts: &[Restart]) {
    let log = Log::read(scene.folder());
    let played = scene.kubelet.played();
    let hand_offs = |who: Who, prefix: &str| {
        let of = |place: &Place| {
            place.chain.starts_with(prefix) && (place.namespace == floor::NAMESPACE) == (who == Who::Floor)
        };
        let pods = played.iter().filter(|(_, place)| of(place)).map(|(name, place)| (name.as_str(), place));
        log.hand_offs(&pods.collect())
    };
    let (theirs, own) = (hand_offs(Who::Floor, TOGETHER), hand_offs(Who::Operator, TOGETHER));
    let alone_medians = (at(&hand_offs(Who::Operator, ALONE), 0.5), at(&hand_offs(Who::Floor, ALONE), 0.5));
    let both = |of: fn(&Done) -> f64| (of(&ours.quick), of(&floor.quick));
    let count = format!("{} chains × {} links", sizes.chains, sizes.links);
    let first = |restart: &Restart| {
        let pod = log.of(Who::Operator, restart.span).find(|write| write.what == "create pods");
        pod.map_or(f64::NAN, |write| write.at.duration_since(restart.span.0).as_secs_f64())
    };
    let started = |of: &dyn Fn(&Restart) -> f64| spread(restarts.iter().map(of).collect());
    let idle_writes = log.of(Who::Operator, alone.rest).filter(|write| !write.what.contains("leases")).count();
    let builds = sizes.builds;
    let conflicts = (ours.quick.conflicts(&log) + ours.slow.conflicts(&log), floor.quick.conflicts(&log));
    let per_link = ours.quick.writes(&log);
    let rows = [
        Row::of(&format!("links/s, {count}, pods of 0 s"), "≥ 100", both(Done::links_per_second), 1),
        Row::alone("links/s of links that are not published", "", &format!("{:.1}", alone.staged.links_per_second())),
        Row::of("writes per link, pods of 0 s", "≤ 5", (per_link, floor.quick.writes(&log)), 2),
        Row::of("writes per link, pods of 4 stages in 1 s", "", (ours.slow.writes(&log), floor.slow.writes(&log)), 2),
        Row::alone("writes per link that is not published", "", &format!("{:.2}", alone.staged.writes(&log))),
        Row::alone("conflicts (409)", "0", &format!("{}", conflicts.0)),
        Row::of("API server, ms of CPU per link", "≤ 15", both(Done::server), 1),
        Row::of("controller, ms of CPU per link", "", both(Done::own), 1),
        Row::of("pod over → next link's pod, p50 ms", "≤ 40", (at(&own, 0.5), at(&theirs, 0.5)), 1),
        Row::of("pod over → next link's pod, p99 ms", "≤ 100", (at(&own, 0.99), at(&theirs, 0.99)), 1),
        Row::of("the same of one chain alone, p50 ms", "≤ 40", alone_medians, 1),
        Row::alone(&format!("start with {builds} builds → first pod, s"), "≤ 2", &started(&first)),
        Row::alone("→ quiet, s", "", &started(&|restart| restart.quiet)),
        Row::alone("requests until then", "", &started(&|restart| restart.requests.values().sum::<u64>() as f64)),
        Row::alone("controller, ms of CPU until then", "", &started(&|restart| restart.processor_time)),
        Row::alone("pages read from disk until then", "", &started(&|restart| restart.faults)),
        Row::alone("RSS idle, MiB", "≤ 20", &format!("{:.1}", alone.idle)),
        Row::of("RSS after that work (at most), MiB", "", (ours.memory.1, floor.memory.1), 1),
        Row::alone(&format!("RSS with {builds} builds and pods, MiB"), "", &format!("{:.1}", alone.full.0)),
        Row::alone(&format!("RSS started with {builds} builds, MiB"), "≤ 40", &started(&|restart| restart.memory.0)),
        Row::alone("the same at most, MiB", "", &started(&|restart| restart.memory.1)),
        Row::alone("the same without the program's file, MiB", "", &started(&|restart| restart.own_memory)),
        Row::alone(&format!("writes in {} s at rest", sizes.rest.as_secs()), "0", &idle_writes.to_string()),
    ];
    table::print(&rows);
    println!("\nhand-offs: {} of ours, {} of the floor", own.len(), theirs.len());
    println!("\nwrites per link, pods of 0 s:\n{}", ours.quick.list(&log));
    println!("writes per link, pods of 4 stages in 1 s:\n{}", ours.slow.list(&log));
    println!("writes per link of the floor:\n{}", floor.quick.list(&log));
    println!("requests of the last start: {:#?}", restarts.last().map(|restart| &restart.requests));
}

/// The median of a few values, with the least and the greatest.
fn spread(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    format!("{:.1} ({:.1} to {:.1})", at(&values, 0.5), at(&values, 0.0), at(&values, 1.0))
}

/// The value below which so large a part of the values is.
fn at(values: &[f64], part: f64) -> f64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among some hundred")]
    let place = ((values.len() as f64 * part).ceil() as usize).saturating_sub(1);
    values.get(place).copied().unwrap_or(f64::NAN)
}
