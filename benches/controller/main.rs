//! The figures of docs/performance.md: the controller as it is shipped, on a real API server and a real registry,
//! beside a controller that only makes bare pods (`floor.rs`). The kubelet is played, and is the same for both.
//!
//! `make bench` runs it; `make bench QUICK=1` runs it with a tenth of the objects, to see that it works.

// What is measured must be there: an answer that is not ends the run.
#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unwrap_used)]
// It is user, administrator and kubelet: it writes and waits as they do.
#![allow(clippy::disallowed_methods)]
// Counts and times are far from where a float loses them.
#![allow(clippy::cast_precision_loss)]

mod audit;
mod floor;
mod kubelet;
mod measure;
mod phases;
mod process;
mod scene;
mod table;

// The servers, the chart and the images of the tests.
#[path = "../../tests/support/mod.rs"]
mod support;

use std::env;

use tokio::runtime::Builder;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let runtime = Builder::new_multi_thread().enable_all().build().expect("a runtime");
    match arguments.get(1).map(String::as_str) {
        Some("floor") => runtime.block_on(floor::run(&arguments[2])),
        _ => runtime.block_on(phases::run(&scene::Sizes::of(env::var_os("QUICK").is_some()))),
    }
}
