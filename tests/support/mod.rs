//! What the tests share.

pub(crate) mod xds_client;
