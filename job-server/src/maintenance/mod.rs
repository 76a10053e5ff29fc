//! Commands for whoever looks after a database: its schema, what is stored in it, and what may go.

pub(crate) mod migrate;
pub(crate) mod prune;
pub(crate) mod verify;

pub use migrate::MigrateArguments;
pub use prune::PruneArguments;
pub use verify::VerifyArguments;

use std::sync::Arc;

use anyhow::bail;
use job_core::store::JobStore;

use crate::backends::{StoreArguments, connect};

/// The database that `arguments` name, on a schema that is up to date; its schema is not touched.
async fn open(arguments: &StoreArguments) -> anyhow::Result<Arc<dyn JobStore>> {
    let Some(database) = arguments.database()? else { bail!(NO_DATABASE) };
    let store = connect(database).await?;
    store.validate().await?;
    Ok(Arc::new(store))
}

const NO_DATABASE: &str = "no database is named: say --store postgres://user:password@host:port/database or set \
                           JOB_SERVICE_STORE";
