//! Who asks, and whether they may.
//!
//! A caller is known by a token in `Authorization: Bearer`, or, for the status of one job, by a proof in the URL. The
//! partition is always that of the path. Nothing here looks at a job: what is foreign and what does not exist are
//! refused alike.

mod attempts;
mod browser;
mod capability;
mod random;
mod rates;
mod role;
mod token;
mod token_file;
mod tokens;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use job_core::dispatcher::StatusCapability;
use job_core::{Clock, JobKey, Shutdown};

pub use capability::Secret;
pub(crate) use role::{AccessRole, Scope};
pub(crate) use token::{TokenRecord, TokenText};
pub(crate) use token_file::TokenFile;

use attempts::Attempts;
use rates::Rates;
use tokens::Tokens;

use crate::error::ApiError;
use crate::query_string::QueryString;
use crate::router::{Endpoint, PathParameters};
use crate::server::Way;

/// How callers are known.
#[derive(Debug)]
pub(crate) struct Guard {
    access: Access,
    clock: Arc<dyn Clock>,
}

#[derive(Debug)]
enum Access {
    /// Whoever reaches this server may do everything.
    Anyone,
    Tokens(Box<Keys>),
}

#[derive(Debug)]
struct Keys {
    tokens: Arc<Tokens>,
    secret: Secret,
    attempts: Attempts,
    rates: Rates,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) endpoint: Endpoint,
    pub(crate) path: &'a PathParameters,
    pub(crate) query: &'a QueryString,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) way: Way,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Nobody said who, and nobody needs to.
    Anyone,
    /// The bearer of a token.
    Token(Arc<TokenRecord>),
    /// The bearer of a status URL: allowed already, for its job alone.
    StatusUrl,
}

impl Guard {
    /// Lets everybody do everything, as far as browsers do not serve somebody else.
    pub(crate) fn open(clock: Arc<dyn Clock>) -> Self {
        Self { access: Access::Anyone, clock }
    }

    /// Asks for the tokens in the file `tokens`, with each of which `rate` requests a second may come. Without a `secret`, one
    /// is made and kept beside them.
    ///
    /// # Errors
    /// A sentence for the operator when a file cannot be read or kept.
    pub(crate) fn with_tokens(
        tokens: &Path,
        secret: Option<Secret>,
        rate: u32,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let known = Arc::new(Tokens::open(TokenFile::new(tokens))?);
        let secret = match secret {
            Some(secret) => secret,
            None => Secret::kept_at(&beside(tokens, ".secret"))?,
        };
        let keys = Keys { tokens: known, secret, attempts: Attempts::default(), rates: Rates::new(rate) };
        Ok(Self { access: Access::Tokens(Box::new(keys)), clock })
    }

    /// What status URLs need; none when anybody may ask.
    pub(crate) fn status_capability(&self) -> Option<StatusCapability> {
        match &self.access {
            Access::Anyone => None,
            Access::Tokens(keys) => Some(keys.secret.status_capability()),
        }
    }

    /// Keeps up with changes of the token file until `shutdown` stops.
    pub(crate) fn follow(&self, shutdown: &Shutdown) {
        if let Access::Tokens(keys) = &self.access {
            let following = Arc::clone(&keys.tokens).follow(Arc::clone(&self.clock), shutdown.clone());
            shutdown.spawn(following);
        }
    }

    /// Finds out who asks.
    ///
    /// # Errors
    /// What the caller is told when that stays unknown.
    pub(crate) fn identify(&self, asked: &Asked<'_>) -> Result<Caller, ApiError> {
        let is_open = asked.needed().is_none();
        let keys = match &self.access {
            Access::Anyone => {
                asked.check_host()?;
                // A page may link to what is open, and gets nothing of it to read.
                if !is_open {
                    browser::check_origin(asked.headers)?;
                }
                return Ok(Caller::Anyone);
            }
            Access::Tokens(_) if is_open => {
                // The rest of it is public, by whatever name a proxy calls this server.
                if asked.endpoint.is_for_admins() {
                    asked.check_host()?;
                }
                return Ok(Caller::Anyone);
            }
            Access::Tokens(keys) => keys,
        };
        let now = self.clock.now();
        let fail = |error: ApiError| {
            keys.attempts.failed(asked.way.peer.ip(), now).map_err(|wait| too_many(TOO_OFTEN, wait))?;
            Err(error)
        };
        if let Some(value) = asked.headers.get(AUTHORIZATION) {
            let Some(shown) = bearer(value) else { return fail(unauthorised(NOT_BEARER)) };
            let Some(record) = keys.tokens.find(shown, now) else { return fail(unauthorised(NOT_GOOD)) };
            keys.rates.asked(&record.id, now).map_err(|wait| too_many(TOO_FAST, wait))?;
            return Ok(Caller::Token(record));
        }
        match asked.query.get(capability::PARAMETER).filter(|_| asked.endpoint.answers_status_urls()) {
            // Never 404, which tells workers that the job is gone and its task can be thrown away.
            Some(proof) => match JobKey::parse(&asked.path.partition, &asked.path.job) {
                Ok(job) if keys.secret.proves(proof, &job) => Ok(Caller::StatusUrl),
                _ => fail(ApiError::new(StatusCode::FORBIDDEN, NOT_PROVEN)),
            },
            // Each leaves a record in the audit log, so that there must not be any number of them.
            None if asked.endpoint.is_change() => fail(unauthorised(NO_TOKEN)),
            None => Err(unauthorised(NO_TOKEN)),
        }
    }
}

impl Asked<'_> {
    /// The role that is needed. Where other machines reach the admin address, whoever collects metrics has to say who it is;
    /// probes cannot, and are told nothing about partitions.
    fn needed(&self) -> Option<AccessRole> {
        match self.endpoint {
            Endpoint::Metrics if !self.way.is_local => Some(AccessRole::Reader),
            endpoint => endpoint.role(),
        }
    }

    /// Refuses a name that leads to an address of this machine by deceit.
    fn check_host(&self) -> Result<(), ApiError> {
        if !self.way.is_local {
            return Ok(());
        }
        // Probes and workers may come through something that passes on the address it was asked at.
        let takes_addresses = self.endpoint.role().is_none() || self.endpoint.answers_status_urls();
        browser::check_host(self.headers, takes_addresses)
    }
}

impl Caller {
    /// Whether this caller may do what is asked.
    ///
    /// # Errors
    /// What the caller is told when not.
    pub(crate) fn may(&self, asked: &Asked<'_>) -> Result<(), ApiError> {
        let (Some(needed), Self::Token(record)) = (asked.needed(), self) else { return Ok(()) };
        let partition = &asked.path.partition;
        // What all partitions share, all may look at; metrics add up what is in them.
        let is_shared =
            partition.is_empty() && needed == AccessRole::Reader && asked.endpoint != Endpoint::Metrics;
        if !is_shared && !record.partition.reaches(partition) {
            return Err(if partition.is_empty() { not_for_all() } else { not_found(asked.path) });
        }
        if record.role < needed {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                format!(
                    "this needs a token with the role {}: this one is {}",
                    needed.name(),
                    record.role.name()
                ),
            ));
        }
        Ok(())
    }
}

const NO_TOKEN: &str = "say who you are: send Authorization: Bearer TOKEN; whoever runs this server makes tokens with job-server token create";
const NOT_BEARER: &str = "Authorization is not understood here: expected Bearer TOKEN";
const NOT_GOOD: &str = "the token is unknown, expired or revoked";
const NOT_PROVEN: &str = "this URL does not prove that its bearer may read the status of this job";

const TOO_OFTEN: &str = "too many requests without a good token from this address: wait, and check the token";
const TOO_FAST: &str =
    "too many requests a second with this token: wait, ask more slowly, or have --token-rate-max raised";

/// The token of an Authorization header; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

fn unauthorised(message: &'static str) -> ApiError {
    let challenge = HeaderValue::from_static("Bearer realm=\"job-service\"");
    ApiError::new(StatusCode::UNAUTHORIZED, message).with_header(WWW_AUTHENTICATE, challenge)
}

fn too_many(message: &'static str, wait: Duration) -> ApiError {
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, message);
    error.with_header(RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)))
}

/// The same whether it exists or not, in the words for a job that does not.
fn not_found(path: &PathParameters) -> ApiError {
    match JobKey::parse(&path.partition, &path.job) {
        Ok(key) => ApiError::new(StatusCode::NOT_FOUND, format!("job_id {{{}}} not found", key.job)),
        Err(_) => ApiError::new(
            StatusCode::NOT_FOUND,
            "there is no such partition, or this token does not reach it",
        ),
    }
}

fn not_for_all() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "this concerns all partitions: it needs a token for all of them")
}

/// The path of a file whose name is that of `path` with `suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}
