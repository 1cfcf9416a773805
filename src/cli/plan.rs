//! `imagechain plan`: what the operator would do with chains, and why, before it does.

mod cluster;
mod facts;
mod report;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use super::manifest::{self, Document};
pub(super) use cluster::Place;
use facts::{Inventory, Nobody};
pub(super) use report::{Answer, Output};
use report::{ChainPlan, answer, print, texts};

/// Prints what would happen to the chains of some files.
pub(super) fn run(files: &[PathBuf], place: &Place, output: Output, out: &mut impl Write) -> io::Result<Answer> {
    let mut documents = Vec::new();
    for file in files {
        documents.extend(manifest::read(file)?);
    }
    let (objects, wrong) = sort(documents);
    let mut inventory = Inventory::of(objects);
    let mut plans = wrong;
    if place.cluster {
        let live = cluster::Live::new(place)?;
        live.complete(&mut inventory)?;
        plans.extend(inventory.plans(&live));
    } else {
        plans.extend(inventory.plans(&Nobody));
    }
    if plans.is_empty() {
        return Err(io::Error::other("there is no ImageChain in these files"));
    }
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(&plans)?)?,
        Output::Text => print(&plans, out)?,
    }
    Ok(answer(&plans))
}

/// The objects of good form, and those whose form is wrong.
fn sort(documents: Vec<Document>) -> (Vec<manifest::Object>, Vec<ChainPlan>) {
    let (mut objects, mut wrong) = (Vec::new(), Vec::new());
    // A folder of manifests may hold what is none of our business.
    for document in documents.into_iter().filter(|document| document.known) {
        match document.object {
            Some(object) if document.problems.is_empty() => objects.push(object),
            _ => wrong.push(ChainPlan {
                namespace: None,
                name: document.title,
                steps: Vec::new(),
                problems: texts(&document.problems),
                assumed: Vec::new(),
            }),
        }
    }
    (objects, wrong)
}
