//! Images: names, what the registry of the local cloud holds, and the images that were pulled from it. How an image is
//! read and unpacked is the work of the crate `oci_image`.

mod reference;
mod registry;
mod store;

pub(crate) use oci_image::while_nothing_is_written;
pub(crate) use store::{Image, ImageStore};
