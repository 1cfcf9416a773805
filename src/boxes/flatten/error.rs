//! Why layers cannot be made one file system.

use std::io;

use thiserror::Error;

/// Why layers cannot be made one file system. Layers count from 1, the lowest first.
#[derive(Debug, Error)]
pub enum Error {
    /// The file of a layer cannot be read.
    #[error("layer {layer} cannot be read: {error}")]
    Unreadable {
        /// Which layer.
        layer: usize,
        /// What the system says.
        error: io::Error,
    },
    /// A layer is no tar archive, or has something that nobody can read alike.
    #[error("layer {layer} is no archive that can be used: {fault}")]
    Broken {
        /// Which layer.
        layer: usize,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// An entry cannot be in a file system.
    #[error("layer {layer}: {name:?} {fault}")]
    Refused {
        /// Which layer.
        layer: usize,
        /// The name of the entry as it stands there.
        name: String,
        /// What is wrong with it, to be read after the name.
        fault: &'static str,
    },
    /// The image has more entries than it may have.
    #[error("the image has more than {most} entries")]
    TooMany {
        /// The most that it may have.
        most: usize,
    },
    /// The names of the image are longer in all than it may have.
    #[error("the names of the image have more than {most} bytes")]
    TooManyNames {
        /// The most that they may have.
        most: usize,
    },
    /// The files of the image are larger in all than they may be.
    #[error("the files of the image have more than {most} bytes")]
    TooLarge {
        /// The most that they may have.
        most: u64,
    },
    /// The archive cannot be written.
    #[error("the flattened image cannot be written: {0}")]
    Unwritable(#[source] io::Error),
}

/// What is wrong with a layer, for one who does not know which it is.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Broken(&'static str),
}

impl Fault {
    /// The error, by the index of the layer.
    pub(super) fn of_layer(self, index: usize) -> Error {
        let layer = index.saturating_add(1);
        match self {
            Self::Io(error) => Error::Unreadable { layer, error },
            Self::Broken(fault) => Error::Broken { layer, fault },
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Why an entry is not taken, for one who does not know whose it is.
#[derive(Debug)]
pub(super) enum Refusal {
    /// To be read after the name.
    Name(&'static str),
    Limit(Error),
}

impl Refusal {
    /// The error, by the index of the layer and the name of the entry.
    pub(super) fn of_entry(self, index: usize, name: &[u8]) -> Error {
        match self {
            Self::Limit(error) => error,
            Self::Name(fault) => {
                let name = String::from_utf8_lossy(name).into_owned();
                Error::Refused { layer: index.saturating_add(1), name, fault }
            }
        }
    }
}

impl From<&'static str> for Refusal {
    fn from(fault: &'static str) -> Self {
        Self::Name(fault)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Limit(error)
    }
}
