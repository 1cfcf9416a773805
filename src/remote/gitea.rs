//! The package registry of Gitea and Forgejo: which file a version of a box has, and the upload of a tested one.
//!
//! The facts are those of Gitea 1.17 to 1.27 (`routers/api/packages/vagrant/vagrant.go`,
//! `routers/api/v1/packages/package.go`, `services/packages/packages.go`): a file is uploaded by one `PUT`, is never
//! replaced (409), and is there as a whole or not at all. The list of the files of a version has their SHA-256. Names,
//! versions and owners are the same in upper and lower case.
//!
//! Nothing here waits or tries again: an answer or an error comes within the time limits.

mod client;
mod error;
mod promote;

pub use self::{
    client::{Credentials, Gitea, Package, Settings},
    error::{Error, Refusal},
    promote::{Promoted, Promotion},
};
