//! Registries: which digest a name leads to, the promotion of a tested image or box, and the transfer of boxes.
//!
//! The protocol is that of the OCI distribution specification 1.1, on [`reqwest`]. The crate `oci-client` is
//! not used, since it reads answers of any size into memory, follows ten redirects, drops `Retry-After` and
//! the status of token servers, and gives no way to take a refused mount further (all at its version 0.18).
//!
//! Nothing here waits or tries again by itself, but for the transfer of boxes: an answer or an error comes within the
//! time limits, and the error says how soon the registry wants to be asked again. A box is moved for minutes, and what
//! was moved of it is lost with the call: its transfer goes on after a pause where it was cut.

mod artifact;
mod client;
mod credentials;
mod download;
mod error;
mod manifest;
mod promote;
mod session;
mod settings;
mod shown;
mod source;
mod staged;
mod upload;

pub use self::{
    artifact::{Progress, Pull, Pulled, Push, Pushed},
    client::{Artifact, Deletion, Registry, Wanted},
    credentials::Credentials,
    error::{Error, Identity},
    promote::{Promoted, Promotion},
    settings::Settings,
    shown::{BoxFile, Content, Stored},
    staged::Tested,
};
