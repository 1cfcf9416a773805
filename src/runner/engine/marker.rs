//! What the engine says of itself, beside its socket.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

/// How the node has its control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Mode {
    /// Version 1, or both.
    V1,
    /// Version 2.
    V2,
}

/// What the engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Marker {
    pub(crate) mode: Mode,
    /// Another one after each start: what an engine held is gone with it.
    pub(crate) instance: String,
    /// The group that it found itself in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<String>,
    /// What containers may have together, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<u64>,
    /// How many processes they may have together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u64>,
    /// Whether the node keeps namespaces from writing the limits of their roots.
    #[serde(default)]
    pub(crate) nsdelegate: bool,
}

impl Marker {
    /// Of a new engine.
    pub(super) fn new(mode: Mode) -> Self {
        let instance = format!("{:032x}", fastrand::u128(..));
        Self { mode, instance, cgroup: None, memory: None, pids: None, nsdelegate: false }
    }

    /// Reads the marker of the engine.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(path)?).map_err(io::Error::other)
    }

    /// Puts it there in one piece.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("new");
        fs::write(&draft, serde_json::to_vec(self).map_err(io::Error::other)?)?;
        fs::rename(draft, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("engine.json");
        let marker = Marker { cgroup: Some("/a".to_owned()), memory: Some(1), pids: Some(2), ..Marker::new(Mode::V2) };
        marker.write(&path).unwrap();
        assert_eq!(Marker::read(&path).unwrap(), marker);
        assert_ne!(Marker::new(Mode::V1).instance, Marker::new(Mode::V1).instance);
        fs::write(&path, "{").unwrap();
        assert!(Marker::read(&path).is_err());
    }
}
