//! The issuer's keys, fetched from the issuer.

use std::time::{Duration, Instant};

use engine_core::Error;
use jsonwebtoken::jwk::Jwk;
use reqwest::redirect::Policy;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::judge::{Head, is_for};
use crate::limits::{ISSUER_ANSWER_BYTES_MAX, ISSUER_KEYS_MAX, KEYS_AGE_MAX};
use crate::rules::check_url;
use crate::{FETCH_TIME_MAX, refused};

/// The keys of one issuer.
pub(crate) struct Keys {
    issuer: String,
    http: reqwest::Client,
    /// Between two fetches.
    pause: Duration,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Vec<Jwk>,
    /// When they were fetched; none: never.
    since: Option<Instant>,
    /// When that was tried last, and what came of it.
    tried: Option<(Instant, Option<String>)>,
}

/// What an issuer says of itself.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Keys {
    pub(crate) fn new(issuer: &str, pause: Duration) -> Result<Self, Error> {
        let http = reqwest::Client::builder()
            .timeout(FETCH_TIME_MAX)
            // What the operator has named is asked, and nobody else.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Error::internal(format!("nothing can be fetched from an issuer: {error}")))?;
        Ok(Self { issuer: issuer.to_owned(), http, pause, known: Mutex::default() })
    }

    /// The keys that may have signed such a token. They are fetched when that was long ago, and when none fits,
    /// as issuers change theirs, but not sooner after one fetch than `pause`.
    pub(crate) async fn for_token(&self, head: &Head) -> Result<Vec<Jwk>, Error> {
        let mut known = self.known.lock().await;
        let is_old = known.since.is_none_or(|since| since.elapsed() > KEYS_AGE_MAX);
        let mut found = fitting(&known.keys, head);
        if is_old || found.is_empty() {
            self.fetch_again(&mut known).await;
            found = fitting(&known.keys, head);
        }
        if known.since.is_none_or(|since| since.elapsed() > KEYS_AGE_MAX) {
            let why = known.tried.as_ref().and_then(|(_, why)| why.clone()).unwrap_or_default();
            return Err(refused(format!("the keys of {} cannot be fetched: {why}", self.issuer)));
        }
        match found.is_empty() {
            true => Err(refused("it was signed by a key that is none of the issuer's")),
            false => Ok(found),
        }
    }

    async fn fetch_again(&self, known: &mut Known) {
        if known.tried.as_ref().is_some_and(|(at, _)| at.elapsed() < self.pause) {
            return;
        }
        let fetched = self.fetch().await;
        known.tried = Some((Instant::now(), fetched.as_ref().err().cloned()));
        match fetched {
            Ok(keys) => (known.keys, known.since) = (keys, Some(Instant::now())),
            Err(why) => tracing::warn!(issuer = self.issuer, why, "the keys of the issuer cannot be fetched"),
        }
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let at = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let discovery: Discovery = self.get(&at).await?;
        if discovery.issuer != self.issuer {
            let other: String = discovery.issuer.chars().take(200).collect();
            return Err(format!(
                "{at} is about another issuer, {other:?}: name that one, exactly as it does"
            ));
        }
        check_url(&discovery.jwks_uri)?;
        let set: Set = self.get(&discovery.jwks_uri).await?;
        // Keys of kinds that we do not know are others' business.
        let keys = set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        Ok(keys.take(ISSUER_KEYS_MAX).collect())
    }

    async fn get<T: for<'a> Deserialize<'a>>(&self, url: &str) -> Result<T, String> {
        let failed = |error: reqwest::Error| format!("{url}: {}", deepest(&error));
        let mut answer = self.http.get(url).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(format!("{url} answers {}", answer.status()));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > ISSUER_ANSWER_BYTES_MAX {
                return Err(format!(
                    "{url} answers more than {ISSUER_ANSWER_BYTES_MAX} bytes (issuer_answer_bytes_max)"
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&bytes).map_err(|error| format!("{url} answers no such JSON: {error}"))
    }
}

fn fitting(keys: &[Jwk], head: &Head) -> Vec<Jwk> {
    let is_named = |key: &&Jwk| head.key_id.is_none() || key.common.key_id == head.key_id;
    keys.iter().filter(is_named).filter(|key| is_for(key, head)).cloned().collect()
}

/// What the system said, out of the layers that wrap it.
fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}
