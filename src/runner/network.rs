//! How the stages, and what they run, reach servers.

use std::{fs, io, path::PathBuf};

use serde_json::json;
use tokio::process::Command;

use super::{context::Context, places::Places, report::local};
use crate::{
    plan::{failure::Failure, job::Job},
    remote::network::Network,
};

/// The variables that name a file with all certificates, by the programs that read them: OpenSSL and Go, requests and
/// with it molecule and ansible, pip, curl, git.
const BUNDLE: [&str; 5] = ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO"];

/// How a job's servers are reached.
///
/// # Errors
/// The certificates cannot be read.
pub(super) fn network(job: &Job) -> Result<Network, Failure> {
    let authority = job.network.certificate_authority.as_ref().map(fs::read_to_string).transpose();
    let authority = authority.map_err(|error| local("the certificates cannot be read", &error))?;
    Ok(Network { authority, proxy: job.network.proxy.clone() })
}

/// Writes the files with which the user's programs reach servers as the profile says, where containers can have them,
/// too: the bundle of all certificates, and for Docker's command line the proxies.
///
/// # Errors
/// They cannot be written.
pub(super) fn install(context: &Context) -> Result<(), Failure> {
    let network = network(&context.job)?;
    let write = || -> io::Result<()> {
        if let Some(bundle) = network.bundle()? {
            fs::write(bundle_file(&context.places), bundle)?;
        }
        if let Some(proxies) = network.proxy.for_docker() {
            fs::create_dir_all(docker_folder(&context.places))?;
            fs::write(docker_folder(&context.places).join("config.json"), json!({"proxies": proxies}).to_string())?;
        }
        Ok(())
    };
    write().map_err(|error| local("the files for certificates and proxies cannot be written", &error))
}

/// Tells a program of the user how servers are reached. `has_config`: Docker's configuration is another one, which has
/// the proxies, too.
pub(super) fn prepare(command: &mut Command, context: &Context, has_config: bool) {
    let network = &context.job.network;
    command.envs(network.proxy.environment());
    if !network.proxy.is_none() && !has_config {
        command.env("DOCKER_CONFIG", docker_folder(&context.places));
    }
    if network.certificate_authority.is_some() {
        let file = bundle_file(&context.places);
        command.envs(BUNDLE.map(|name| (name, &file)));
    }
}

fn bundle_file(places: &Places) -> PathBuf {
    places.temporary().join("certificates.pem")
}

fn docker_folder(places: &Places) -> PathBuf {
    places.temporary().join("docker")
}
