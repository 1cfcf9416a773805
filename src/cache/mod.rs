//! What a cache of files keeps on a disk of a bounded size, and what it and those who use it have agreed on.

mod protocol;
mod stock;

pub use protocol::{LARGEST, brought_within, digest_of, file_path};
pub use stock::{Bound, NoRoom, Stock};
