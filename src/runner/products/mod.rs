//! The products of builds: all that the stages do with them.

mod image;
mod machine_box;
mod registry;
mod store;

pub(super) use self::{
    image::{Content, Images, Target, mirrored},
    machine_box::{Boxes, Disk, blocking},
    store::{Pushed, Store},
};
