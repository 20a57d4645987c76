//! A server in a container, through Docker.

use testcontainers::core::IntoContainerPort;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

use super::janitor::Janitor;
use super::server::{self, Started};
use super::url::ServerUrl;
use super::{TestingError, random_hex, variable};

/// The server's settings: as fast as one can be that nobody will miss.
const COMMAND: [&str; 13] = [
    "postgres",
    "-c",
    "fsync=off",
    "-c",
    "synchronous_commit=off",
    "-c",
    "full_page_writes=off",
    "-c",
    "autovacuum=off",
    "-c",
    "max_connections=200",
    "-c",
    "jit=off",
];

/// Stops with it.
pub(super) type Running = Container<GenericImage>;

/// The image to run: what `SESARI_TEST_IMAGE` names, or the official one.
pub(super) fn image() -> String {
    variable("SESARI_TEST_IMAGE").unwrap_or_else(|| "postgres:17".to_owned())
}

/// Starts a container.
pub(super) fn start() -> Result<Started, TestingError> {
    // In a thread of its own, because a runtime cannot be blocked on from within another.
    std::thread::spawn(run).join().unwrap_or_else(|_| Err(failed("the Docker client panicked")))
}

fn failed(detail: impl Into<String>) -> TestingError {
    TestingError::Start { server: format!("the image `{}`", image()), detail: detail.into() }
}

fn run() -> Result<Started, TestingError> {
    let image = image();
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (image.as_str(), "latest"),
    };
    let password = random_hex::<16>()?;
    let name = format!("sesari-test-{}", random_hex::<5>()?);
    let socket = variable("DOCKER_HOST")
        .and_then(|host| Some(host.strip_prefix("unix://")?.to_owned()))
        .unwrap_or_else(|| "/var/run/docker.sock".to_owned());
    let script = include_str!("container.sh");
    let mut janitor = Janitor::start(script, &[&name, &socket], &[], None, "")
        .map_err(|error| failed(error.to_string()))?;

    let container = GenericImage::new(repository, tag)
        .with_exposed_port(5432.tcp())
        .with_container_name(&name)
        .with_env_var("POSTGRES_PASSWORD", &password)
        .with_cmd(COMMAND)
        .start()
        .map_err(|error| TestingError::NoServer(format!(
            "Docker did not start the image `{image}` ({error}): start Docker (`docker info` must \
             work for this user) and set SESARI_TEST_IMAGE to an image that it has or can pull, \
             such as postgres:17; or install PostgreSQL 15 or newer, and unset \
             SESARI_TEST_SERVER"
        )))?;
    let url = address(&container, &password)?;
    let mut gave_up =
        || !matches!(janitor.ended(), Ok(None)) || !container.is_running().unwrap_or(false);
    let control = server::wait_until_ready(&url, &mut gave_up).map_err(|reason| {
        let log = container.stderr_to_vec().unwrap_or_default();
        failed(format!("{reason}; its log:\n{}", String::from_utf8_lossy(&log)))
    })?;
    Ok(Started { url, control, janitor, container: Some(container), copying: server::BY_FILES })
}

fn address(container: &Running, password: &str) -> Result<ServerUrl, TestingError> {
    let port = container.get_host_port_ipv4(5432).map_err(|error| failed(error.to_string()))?;
    // A name could mean the IPv6 address, where the port is another.
    let host = match container.get_host().map_err(|error| failed(error.to_string()))?.to_string() {
        host if host == "localhost" => "127.0.0.1".to_owned(),
        host => host,
    };
    Ok(ServerUrl::new("postgres", password, &host, port, "postgres"))
}
