//! A small but real HTTP service on `sesari-db`: tokio, axum, and the tenant taken from the request.
//!
//! ```sh
//! cargo run --example axum_service                  # http://127.0.0.1:8080, until Ctrl-C
//! cargo run --example axum_service -- 127.0.0.1:0   # any free port
//! RUST_LOG=info,sesari_db=debug cargo run --example axum_service   # each operation in its unit's span
//! ```
//!
//! Serves a throw-away database with two companies, Acme and Globex. `GET /` is a page with the live
//! charts of both side by side, each seen by one of its own people, and what each gets who asks for
//! the other's. With curl:
//!
//! ```sh
//! token=$(curl -s localhost:8080/sign-in --json '{"email":"ada@acme.example"}' | jq -r .token)
//! curl -s localhost:8080/workspaces -H "authorization: Bearer $token"
//! ```
//!
//! What a request may say besides:
//!
//! | header | what |
//! |---|---|
//! | `Idempotency-Key` | makes the thing once, however often the request is sent |
//! | `Request-Timeout-Ms` | how long the client waits; what is not committed by then is not done |
//!
//! | where | what |
//! |---|---|
//! | `main.rs` | building the database, serving, stopping |
//! | `app.rs` | what handlers share: the database, and who is signed in |
//! | `request.rs` | what a request says: who, how long, under which key, and its JSON |
//! | `failure.rs` | errors to status codes |
//! | `routes.rs`, `routes/` | the API: no SQL, no `workspace_id` and no check of rights in it |
//! | `operations.rs` | probes, metrics, and a span for each request |
//! | `companies.rs` | the two companies, and the feed that makes their charts move |

#![allow(unreachable_pub, reason = "a program exports nothing")]

mod app;
mod companies;
mod failure;
mod operations;
mod request;
mod routes;

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::time::Duration;

use sesari_db::credentials::SealingKey;
use sesari_db::testing::TestDatabase;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::warn;

use app::App;
use companies::Company;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// How long requests may go on once the service is told to stop, and units of work after them.
const TIMEOUT: Duration = Duration::from_secs(10);

fn main() -> Outcome<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());
    operations::log();
    let metrics = operations::measure()?;

    // In production: `Database::builder(tenant_url, context_keys).service_url(..)`, from the
    // environment. All of this blocks, and is done before there is a runtime.
    println!("Starting PostgreSQL and running the migrations ...");
    let server = TestDatabase::new()?;
    let db = server
        .builder()
        .sealing_keys(SealingKey::generate("k1".parse()?)?.into())
        .pool_size(8)
        // One company has four of the connections and half of the queue at most, whatever it asks for.
        .workspace_share(0.5)
        .queue_limit(32)
        .unit_deadline(request::LONGEST)
        .build()?;
    let companies = companies::found(&db)?;

    let runtime = tokio::runtime::Runtime::new()?;
    let app = Arc::new(App::new(db.into(), metrics));
    let open = runtime.block_on(serve(app, companies, &address))?;
    // A thread that is still in a unit of work is not waited for twice.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match open {
        0 => println!("Stopped. Nothing was left open."),
        open => println!("Stopped. {open} units of work were left open and are rolled back."),
    }
    Ok(())
}

/// Serves until told to stop, and ends in order. Returns how many units of work are still open then.
async fn serve(app: Arc<App>, companies: Vec<Company>, address: &str) -> Outcome<usize> {
    let listener = TcpListener::bind(address).await?;
    println!("Serving on http://{} until Ctrl-C", listener.local_addr()?);
    let feed = tokio::spawn(companies::feed(app.clone(), companies));
    let upkeep = tokio::spawn(operations::upkeep(app.clone()));

    let (stop, stopping) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes::all(app.clone()))
        .with_graceful_shutdown(async { stopping.await.unwrap_or_default() });
    let mut server = tokio::spawn(server.into_future());
    stopped().await;

    println!("Stopping: no new requests, those under way are answered.");
    app.db.database().drain();
    // Nobody hears it only if the server has ended already.
    let _ = stop.send(());
    if let Ok(ended) = timeout(TIMEOUT, &mut server).await {
        ended??;
    } else {
        warn!("requests took too long to end");
        server.abort();
    }
    feed.abort();
    upkeep.abort();
    Ok(app.db.shut_down(TIMEOUT).await?)
}

/// Returns when the process is told to end, by Ctrl-C or by whatever runs it.
async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
