//! A small but real HTTP service on `sesari-db`: tokio, axum, and the tenant taken from the request.
//!
//! ```sh
//! cargo run --example axum_service                  # http://127.0.0.1:8080, until Ctrl-C
//! cargo run --example axum_service -- 127.0.0.1:0   # any free port
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
//! | where | what |
//! |---|---|
//! | `main.rs` | building the database, serving, stopping |
//! | `app.rs` | what handlers share: the database, who is signed in, one unit of work |
//! | `failure.rs` | errors to status codes |
//! | `routes.rs` | the API: no SQL, no `workspace_id` and no check of rights in it |
//! | `companies.rs` | the two companies, and the feed that makes their charts move |

#![allow(unreachable_pub, reason = "a program exports nothing")]

mod app;
mod companies;
mod failure;
mod routes;

use std::sync::Arc;

use sesari_db::credentials::SealingKey;
use sesari_db::testing::TestDatabase;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use app::App;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".into());

    // In production: `Database::builder(tenant_url, context_keys).service_url(..)`, from the
    // environment. All of this blocks, and is done before there is a runtime.
    println!("Starting PostgreSQL and running the migrations ...");
    let server = TestDatabase::new()?;
    let db = server
        .builder()
        .sealing_keys(SealingKey::generate("k1".parse()?)?.into())
        .pool_size(8)
        .build()?;
    let companies = companies::found(&db)?;

    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(serve(Arc::new(App::new(db)), companies, &address))
}

async fn serve(app: Arc<App>, companies: Vec<companies::Company>, address: &str) -> Outcome<()> {
    let listener = TcpListener::bind(address).await?;
    println!("Serving on http://{} until Ctrl-C", listener.local_addr()?);
    let feed = tokio::spawn(companies::feed(app.clone(), companies));
    axum::serve(listener, routes::all(app.clone())).with_graceful_shutdown(stopped()).await?;
    // Requests under way have been answered. What still runs in the background is stopped.
    feed.abort();
    println!("Stopped.");
    Ok(())
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
