//! Tokens: how they are made, narrowed, and read.
//!
//! A token is a biscuit. Its first block, which an engine signs, says what it grants; each further one, which
//! whoever has it may add, takes something of that away. Facts of a further block are not believed by anybody
//! but that block, so nothing in it can grant.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, SystemTime};

use biscuit_auth::builder::{self, Term};
use biscuit_auth::{
    Authorizer, AuthorizerBuilder, AuthorizerLimits, Biscuit, BlockBuilder, KeyPair, PublicKey,
    UnverifiedBiscuit, error,
};
use engine_core::{Error, JobId, TenantName};

use crate::error::{explained, malformed, refused};
use crate::limits::{
    DATALOG_FACTS_MAX, DATALOG_ROUNDS_MAX, DATALOG_TIME_MAX, NAMESPACE_BYTES_MAX, TOKEN_BLOCKS_MAX,
    TOKEN_BYTES_MAX, TOKEN_LIFETIME_MAX,
};
use crate::principal::{Principal, Shown};
use crate::revoked::TokenId;
use crate::scope::Scope;
use crate::verb::{VERBS, Verb, Verbs};

/// What a token is made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What it sees; of its job when it is a ticket.
    pub scope: Scope,
    /// What it may do.
    pub verbs: Verbs,
    /// How long it is good.
    pub lifetime: Duration,
}

/// What is taken away of a token; none: nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Narrowing {
    /// Only these verbs.
    pub verbs: Option<Verbs>,
    /// Only this namespace.
    pub namespace: Option<String>,
    /// Only for so long from now on.
    pub lifetime: Option<Duration>,
}

/// What a block of a token says. Whether it is to be believed only the engine knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// By what it is revoked, with what was made of it.
    pub id: TokenId,
    /// Of whom it is; only the first block says so.
    pub tenant: Option<TenantName>,
    /// The verbs that it leaves; none: as before.
    pub verbs: Option<Verbs>,
    /// The namespace that it is bound to.
    pub namespace: Option<String>,
    /// When it expires.
    pub expires: Option<SystemTime>,
}

fn limits() -> AuthorizerLimits {
    AuthorizerLimits {
        max_facts: DATALOG_FACTS_MAX,
        max_iterations: DATALOG_ROUNDS_MAX,
        max_time: DATALOG_TIME_MAX,
    }
}

fn check_lifetime(lifetime: Duration) -> Result<(), Error> {
    match lifetime {
        _ if lifetime < Duration::from_secs(1) => Err(Error::invalid_argument(
            "a token has to be good for a second at least: say how long, as in --expires 12h",
        )),
        _ if lifetime > TOKEN_LIFETIME_MAX => Err(Error::invalid_argument(format!(
            "a token may be good for {} days at most (token_lifetime_max)",
            TOKEN_LIFETIME_MAX.as_secs() / (24 * 60 * 60)
        ))),
        _ => Ok(()),
    }
}

fn check_namespace(namespace: &str) -> Result<(), Error> {
    match namespace.len() {
        0 => Err(Error::invalid_argument("a token cannot be bound to a namespace without a name")),
        1..=NAMESPACE_BYTES_MAX => Ok(()),
        more => Err(Error::invalid_argument(format!(
            "the namespace has {more} bytes, and {NAMESPACE_BYTES_MAX} are the most (namespace_bytes_max)"
        ))),
    }
}

fn names(verbs: Verbs) -> Term {
    Term::Set(verbs.iter().map(|verb| Term::Str(verb.name().to_owned())).collect::<BTreeSet<_>>())
}

fn internal(error: &error::Token) -> Error {
    Error::internal(format!("a token could not be made: {error}"))
}

/// Makes a token: its text, its id, and when it expires.
pub(crate) fn make(
    key: &KeyPair,
    grant: &Grant,
    now: SystemTime,
) -> Result<(String, TokenId, SystemTime), Error> {
    check_lifetime(grant.lifetime)?;
    let expires = now + grant.lifetime;
    let mut source = "verbs({verbs}); expires({expires}); check if time($now), $now < {expires};".to_owned();
    let mut params: HashMap<String, Term> =
        [("verbs".to_owned(), names(grant.verbs)), ("expires".to_owned(), builder::date(&expires))].into();
    source += match &grant.scope.tenant {
        Some(tenant) => {
            params.insert("tenant".to_owned(), builder::string(tenant.as_str()));
            "tenant({tenant});"
        }
        None => "operator(true);",
    };
    if let Some(namespace) = &grant.scope.namespace {
        check_namespace(namespace)?;
        params.insert("namespace".to_owned(), builder::string(namespace));
        source += "namespace({namespace});";
    }
    if let Some(job) = grant.scope.job {
        params.insert("job".to_owned(), builder::string(&job.to_string()));
        source += "job({job});";
    }
    let made = Biscuit::builder()
        .code_with_params(&source, params, HashMap::new())
        .and_then(|builder| builder.build(key))
        .map_err(|error| internal(&error))?;
    let text = made.to_base64().map_err(|error| internal(&error))?;
    let ids = made.revocation_identifiers();
    let id = ids.last().ok_or_else(|| Error::internal("a token was made without a block"))?;
    Ok((text, TokenId::of(id, expires), expires))
}

/// A token that may do less, which needs no engine.
///
/// # Errors
/// When it is no token, or has been narrowed too often.
pub fn narrow(text: &str, by: &Narrowing, now: SystemTime) -> Result<String, Error> {
    let token = unverified(text)?;
    if token.block_count() >= TOKEN_BLOCKS_MAX {
        return Err(Error::invalid_argument(format!(
            "the token was narrowed {} times, which is the most (token_blocks_max): narrow the one that it was made of",
            TOKEN_BLOCKS_MAX - 1
        )));
    }
    let (mut source, mut params) = (String::new(), HashMap::new());
    if let Some(verbs) = by.verbs {
        params.insert("verbs".to_owned(), names(verbs));
        source += "verbs({verbs}); check if verb($verb), {verbs}.contains($verb);";
    }
    if let Some(namespace) = &by.namespace {
        check_namespace(namespace)?;
        params.insert("namespace".to_owned(), builder::string(namespace));
        source += "namespace({namespace}); check if in_namespace({namespace});";
    }
    if let Some(lifetime) = by.lifetime {
        check_lifetime(lifetime)?;
        params.insert("expires".to_owned(), builder::date(&(now + lifetime)));
        source += "expires({expires}); check if time($now), $now < {expires};";
    }
    if source.is_empty() {
        return Err(Error::invalid_argument("there is nothing by which the token is to be narrowed"));
    }
    let narrowed = BlockBuilder::new()
        .code_with_params(&source, params, HashMap::new())
        .and_then(|block| token.append(block))
        .and_then(|token| token.to_base64());
    let narrowed = narrowed.map_err(|error| match error {
        error::Token::AppendOnSealed => Error::invalid_argument("the token is sealed: it cannot be narrowed"),
        error => internal(&error),
    })?;
    check_bytes(&narrowed).map(|()| narrowed)
}

fn check_bytes(text: &str) -> Result<(), Error> {
    match text.len() {
        0..=TOKEN_BYTES_MAX => Ok(()),
        more => {
            Err(refused(format!("it has {more} bytes, and {TOKEN_BYTES_MAX} are the most (token_bytes_max)")))
        }
    }
}

fn unverified(text: &str) -> Result<UnverifiedBiscuit, Error> {
    check_bytes(text)?;
    let token = UnverifiedBiscuit::from_base64(text).map_err(|_| malformed())?;
    match token.block_count() {
        0..=TOKEN_BLOCKS_MAX => Ok(token),
        more => Err(refused(format!(
            "it has {more} blocks, and {TOKEN_BLOCKS_MAX} are the most (token_blocks_max)"
        ))),
    }
}

/// What a token says, block by block. Nothing of it is verified: that takes the engine's key.
///
/// # Errors
/// When it is no token.
pub fn inspect(text: &str) -> Result<Vec<Block>, Error> {
    let token = unverified(text)?;
    let mut earliest: Option<SystemTime> = None;
    let block = |(index, id): (usize, Vec<u8>)| {
        let source = token.print_block_source(index)?;
        let mut facts =
            AuthorizerBuilder::new().code(source)?.set_limits(limits()).build_unauthenticated()?;
        let expires = all::<SystemTime>(&mut facts, "expires")?.into_iter().min();
        earliest = earliest.into_iter().chain(expires).min();
        Ok(Block {
            id: TokenId::of(&id, earliest.unwrap_or(SystemTime::UNIX_EPOCH)),
            tenant: first::<String>(&mut facts, "tenant")?.and_then(|name| name.parse().ok()),
            verbs: first::<BTreeSet<String>>(&mut facts, "verbs")?.map(|names| verbs_of(&names)),
            namespace: first(&mut facts, "namespace")?,
            expires,
        })
    };
    let blocks: Result<Vec<Block>, error::Token> =
        token.revocation_identifiers().into_iter().enumerate().map(block).collect();
    blocks.map_err(|error| explained(&error))
}

fn verbs_of(names: &BTreeSet<String>) -> Verbs {
    VERBS.iter().filter(|(_, name)| names.contains(*name)).map(|(verb, _)| *verb).collect()
}

/// What all blocks say: good for what takes something away.
fn all<T>(facts: &mut Authorizer, name: &str) -> Result<Vec<T>, error::Token>
where
    T: TryFrom<Term, Error = error::Token>,
{
    let found: Vec<(T,)> =
        facts.query_all_with_limits(format!("data($x) <- {name}($x)").as_str(), limits())?;
    Ok(found.into_iter().map(|(value,)| value).collect())
}

/// What the engine's own block says.
fn first<T>(facts: &mut Authorizer, name: &str) -> Result<Option<T>, error::Token>
where
    T: TryFrom<Term, Error = error::Token>,
{
    let found: Vec<(T,)> = facts.query_with_limits(format!("data($x) <- {name}($x)").as_str(), limits())?;
    Ok(found.into_iter().next().map(|(value,)| value))
}

/// Who shows this token, whatever the time and what is revoked.
///
/// # Errors
/// UNAUTHENTICATED, with why.
pub(crate) fn verify(key: PublicKey, text: &str, now: SystemTime) -> Result<Principal, Error> {
    let token = unverified(text)?;
    let token = token.verify(key).map_err(|error| explained(&error.into()))?;
    let expired = || refused("it has expired: ask for another one (engine token create)");
    let read = || -> Result<Option<(Scope, Verbs, SystemTime)>, error::Token> {
        let mut facts = AuthorizerBuilder::new().set_limits(limits()).build(&token)?;
        let Some(expires) = all::<SystemTime>(&mut facts, "expires")?.into_iter().min() else {
            return Ok(None);
        };
        let granted =
            first::<BTreeSet<String>>(&mut facts, "verbs")?.map_or(Verbs::NONE, |set| verbs_of(&set));
        let tenant = first::<String>(&mut facts, "tenant")?.map(|name| name.parse::<TenantName>());
        let job = first::<String>(&mut facts, "job")?.map(|id| id.parse::<JobId>());
        let is_operator = first::<bool>(&mut facts, "operator")? == Some(true);
        // Of two namespaces none is in both.
        let namespaces: BTreeSet<String> = all(&mut facts, "namespace")?.into_iter().collect();
        let (Ok(tenant), Ok(job)) = (tenant.transpose(), job.transpose()) else { return Ok(None) };
        if namespaces.len() > 1 || tenant.is_none() != is_operator {
            return Ok(None);
        }
        let namespace = namespaces.into_iter().next();
        let mut verbs = Vec::new();
        for verb in granted.iter().filter(|_| expires > now) {
            if allows(&token, verb, namespace.as_deref(), now)? {
                verbs.push(verb);
            }
        }
        Ok(Some((Scope { tenant, namespace, job }, verbs.into_iter().collect(), expires)))
    };
    let (scope, verbs, expires) = read().map_err(|error| explained(&error))?.ok_or_else(|| {
        refused("what it says contradicts itself: narrow the one that it was made of again")
    })?;
    if expires <= now {
        return Err(expired());
    }
    if verbs.is_empty() {
        return Err(refused("nothing is left of what it may do"));
    }
    let ids = token.revocation_identifiers().iter().map(|id| TokenId::of(id, expires)).collect();
    Ok(Principal { scope, verbs, token: Some(Shown { ids, expires }) })
}

/// Whether all blocks let this through: also those that others than this engine's tools have made.
fn allows(
    token: &Biscuit,
    verb: Verb,
    namespace: Option<&str>,
    now: SystemTime,
) -> Result<bool, error::Token> {
    let mut asks = AuthorizerBuilder::new()
        .fact(builder::fact("verb", &[builder::string(verb.name())]))?
        .fact(builder::fact("time", &[builder::date(&now)]))?
        .policy("allow if true")?
        .set_limits(limits());
    if let Some(namespace) = namespace {
        asks = asks.fact(builder::fact("in_namespace", &[builder::string(namespace)]))?;
    }
    match asks.build(token)?.authorize_with_limits(limits()) {
        Ok(_) => Ok(true),
        Err(error::Token::FailedLogic(_)) => Ok(false),
        Err(error) => Err(error),
    }
}
