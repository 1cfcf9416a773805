//! Registries: which digest a name leads to, and the promotion of a tested image.
//!
//! The protocol is that of the OCI distribution specification 1.1, on [`reqwest`]. The crate `oci-client` is
//! not used, since it reads answers of any size into memory, follows ten redirects, drops `Retry-After` and
//! the status of token servers, and gives no way to take a refused mount further (all at its version 0.18).
//!
//! Nothing here waits or tries again by itself: an answer or an error comes within the time limits, and the
//! error says how soon the registry wants to be asked again.

mod client;
mod credentials;
mod error;
mod manifest;
mod promote;
mod session;
mod settings;

pub use self::{
    client::{Deletion, Image, Registry},
    credentials::Credentials,
    error::{Error, Identity, LONGEST_RETRY_AFTER},
    promote::{Promoted, Promotion},
    settings::Settings,
};
