//! Images: their names, the registry they come from, a store by digest, and unpacking their layers.

mod reference;
mod registry;
mod store;
mod unpack;

pub(crate) use store::{Image, ImageStore};
pub(crate) use unpack::while_nothing_is_written;
