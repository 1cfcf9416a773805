//! What people are shown of chains and builds, read from objects and plans: nothing here decides what happens.

pub mod grant;
pub mod logs;
pub mod preview;
