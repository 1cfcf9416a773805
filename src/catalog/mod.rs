//! What Vagrant is told of the boxes in a repository: versions, providers and addresses, from tags and configurations.

mod address;
mod metadata;
mod range;
mod version;

pub use address::{Prefix, Wanted, file_path};
pub use metadata::{Metadata, Tagged, metadata, newest};
pub use range::{Part, part};
