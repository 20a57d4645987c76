//! Stands in for `docker` without the feature `testing-docker`.

use super::TestingError;
use super::server::Started;

/// None ever.
#[derive(Debug)]
pub(super) enum Running {}

pub(super) fn start() -> Result<Started, TestingError> {
    Err(TestingError::NoServer("the feature `testing-docker` is off".to_owned()))
}
