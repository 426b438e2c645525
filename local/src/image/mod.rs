//! Images: names, the registry client, the store by digest, and the unpacking of layers.

mod reference;
mod registry;
mod store;
mod unpack;

pub(crate) use store::{Image, ImageStore};
pub(crate) use unpack::while_nothing_is_written;
