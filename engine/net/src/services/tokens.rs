use std::sync::Arc;
use std::time::Duration;

use engine_access::{Gate, Grant, Role, Scope, TokenId, Verb, Verbs};
use engine_core::{Error, ErrorCode, TenantName};
use engine_oidc::{Login, Oidc};
use engine_proto::convert::{std_duration, timestamp};
use engine_proto::limits::NAME_BYTES_MAX;
use engine_proto::status_from_error;
use engine_proto::v1::tokens_server::Tokens;
use engine_proto::v1::{
    CreateTokenRequest, CreateTokenResponse, LoginRequest, LoginResponse, RevokeTokenRequest,
    RevokeTokenResponse,
};
use engine_tls::{AccessToken, Fingerprint};
use tonic::{Request, Response, Status};

use super::access::{Asker, asker};
use super::answer;

/// How long a token is good when nothing is said.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(12 * 60 * 60);

/// Makes tokens and takes them back.
pub(crate) struct TokensService {
    pub(crate) gate: Arc<Gate>,
    /// By what clients without a certificate know the cluster, when it speaks TLS.
    pub(crate) authority: Option<Fingerprint>,
    /// Who may log in; none: nobody.
    pub(crate) login: Option<Arc<Oidc>>,
}

impl TokensService {
    fn create(&self, asks: &Asker, request: &CreateTokenRequest) -> Result<CreateTokenResponse, Error> {
        asks.about("tenant", &request.tenant);
        asks.about("role", &request.role);
        let grant = granted(asks, request)?;
        let issued = self.gate.issue(&grant)?;
        asks.about("token_id", issued.id);
        asks.about("tenant", grant.scope.tenant.as_ref().map(ToString::to_string).unwrap_or_default());
        asks.about("verbs", grant.verbs);
        asks.about("namespace", grant.scope.namespace.as_deref().unwrap_or_default());
        tracing::info!(id = %issued.id, tenant = %asks_for(&grant), verbs = %grant.verbs, "a token was made");
        Ok(CreateTokenResponse {
            token: AccessToken::new(issued.text, self.authority).to_secret_text(),
            token_id: issued.id.to_string(),
            expires: Some(timestamp(issued.expires)),
        })
    }

    async fn login(&self, asks: &Asker, request: &LoginRequest) -> Result<LoginResponse, Error> {
        let oidc = self.login.as_ref().ok_or_else(|| {
            Error::new(
                ErrorCode::Unauthenticated,
                "nobody logs in here: this engine was started without --oidc FILE. A token of it is made by \
                 `engine token create`",
            )
        })?;
        asks.about("issuer", oidc.issuer());
        let Login { subject, grant } = oidc.login(&request.id_token, &request.tenant).await?;
        asks.about("subject", &subject);
        let issued = self.gate.issue(&grant)?;
        let tenant = grant.scope.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        asks.about("token_id", issued.id);
        asks.about("tenant", &tenant);
        asks.about("verbs", grant.verbs);
        tracing::info!(id = %issued.id, tenant = %asks_for(&grant), verbs = %grant.verbs, "somebody has logged in");
        let token = CreateTokenResponse {
            token: AccessToken::new(issued.text, self.authority).to_secret_text(),
            token_id: issued.id.to_string(),
            expires: Some(timestamp(issued.expires)),
        };
        Ok(LoginResponse { token: Some(token), subject, tenant })
    }

    fn revoke(&self, asks: &Asker, request: &RevokeTokenRequest) -> Result<RevokeTokenResponse, Error> {
        let id: TokenId =
            request.token_id.parse().map_err(|error| Error::invalid_argument(format!("{error}")))?;
        asks.about("token_id", id);
        self.gate.revoke(id, asks.scope())?;
        tracing::info!(%id, "a token was revoked");
        Ok(RevokeTokenResponse {})
    }
}

fn asks_for(grant: &Grant) -> String {
    grant.scope.tenant.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string)
}

/// What a token that is asked for grants: no more than who asks may.
fn granted(asks: &Asker, request: &CreateTokenRequest) -> Result<Grant, Error> {
    let role: Role = request.role.parse()?;
    let denied = |what: String| Error::new(ErrorCode::PermissionDenied, what);
    let tenant = match (request.tenant.as_str(), &asks.scope().tenant) {
        ("", own) => own.clone(),
        (name, None) => Some(name.parse::<TenantName>()?),
        (name, Some(own)) if name == own.as_str() => Some(own.clone()),
        (name, Some(own)) => {
            return Err(denied(format!("a token of tenant {own} makes none for {:?}", short(name))));
        }
    };
    match (role, &tenant) {
        (Role::Operator, Some(_)) => {
            return Err(Error::invalid_argument(
                "an operator is of no tenant: leave the tenant away, or use another role",
            ));
        }
        (Role::Operator, None) => asks.check(Verb::Operate)?,
        (_, None) => {
            return Err(Error::invalid_argument(format!("a {role} is of a tenant: say which (--tenant)")));
        }
        (_, Some(_)) => {}
    }
    let mut verbs = role.verbs();
    if !request.verbs.is_empty() {
        let only: Verbs = request.verbs.iter().map(|name| name.parse::<Verb>()).collect::<Result<_, _>>()?;
        if only.and(verbs) != only {
            return Err(Error::invalid_argument(format!("a {role} may {verbs}, and {only} was asked for")));
        }
        verbs = only;
    }
    if verbs.and(asks.principal.verbs) != verbs {
        return Err(denied(format!(
            "your token may {}, and gives no more on: {verbs}",
            asks.principal.verbs
        )));
    }
    let namespace = match (request.namespace.as_str(), &asks.scope().namespace) {
        ("", own) => own.clone(),
        (name, _) if name.len() > NAME_BYTES_MAX => {
            return Err(Error::invalid_argument(format!(
                "the namespace has {} bytes, at most {NAME_BYTES_MAX} are allowed",
                name.len()
            )));
        }
        (name, None) => Some(name.to_owned()),
        (name, Some(own)) if name == own => Some(own.clone()),
        (name, Some(own)) => {
            return Err(denied(format!(
                "your token is for the namespace {own:?}, not for {:?}",
                short(name)
            )));
        }
    };
    let negative = || Error::invalid_argument("the lifetime is negative");
    let asked = request.lifetime.as_ref().map(|span| std_duration(span).ok_or_else(negative)).transpose()?;
    let asked = asked.unwrap_or(LIFETIME_DEFAULT);
    let lifetime = asks.gate.time_left(&asks.principal).map_or(asked, |left| asked.min(left));
    Ok(Grant { scope: Scope { tenant, namespace, job: None }, verbs, lifetime })
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

#[tonic::async_trait]
impl Tokens for TokensService {
    async fn login(&self, request: Request<LoginRequest>) -> Result<Response<LoginResponse>, Status> {
        let asks = asker(&request).map_err(|error| status_from_error(&error))?;
        answer(self.login(&asks, request.get_ref()).await)
    }

    async fn create(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        answer(asker(&request).and_then(|asks| self.create(&asks, request.get_ref())))
    }

    async fn revoke(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenResponse>, Status> {
        answer(asker(&request).and_then(|asks| self.revoke(&asks, request.get_ref())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_access::Principal;

    fn asks(tenant: Option<&str>, namespace: Option<&str>, role: Role) -> Asker {
        let gate = Arc::new(Gate::in_memory());
        let scope = Scope {
            tenant: tenant.map(|name| name.parse().unwrap()),
            namespace: namespace.map(str::to_owned),
            job: None,
        };
        let lifetime = Duration::from_secs(60);
        let text = gate.issue(&Grant { scope, verbs: role.verbs(), lifetime }).unwrap().text;
        Asker::new(gate.judge(&text).unwrap(), gate)
    }

    fn request(tenant: &str, role: &str) -> CreateTokenRequest {
        CreateTokenRequest { tenant: tenant.to_owned(), role: role.to_owned(), ..Default::default() }
    }

    #[test]
    fn nobody_gives_more_than_it_has() {
        let admin = asks(Some("a"), Some("n"), Role::TenantAdmin);
        let grant = granted(&admin, &request("", "submitter")).unwrap();
        assert_eq!(grant.scope, *admin.scope());
        assert!(grant.lifetime <= Duration::from_secs(60), "not for longer than its own");
        let code = |asks: &Asker, request| granted(asks, &request).unwrap_err().code();
        assert_eq!(code(&admin, request("b", "viewer")), ErrorCode::PermissionDenied);
        assert_eq!(code(&admin, request("", "operator")), ErrorCode::InvalidArgument);
        let other = CreateTokenRequest { namespace: "m".to_owned(), ..request("a", "viewer") };
        assert_eq!(code(&admin, other), ErrorCode::PermissionDenied);
        let more = CreateTokenRequest { verbs: vec!["submit".to_owned()], ..request("a", "viewer") };
        assert_eq!(code(&admin, more), ErrorCode::InvalidArgument);
        assert_eq!(code(&admin, request("a", "king")), ErrorCode::InvalidArgument);

        let principal = Principal { verbs: Verbs::of(&[Verb::View, Verb::Token]), ..admin.principal };
        let less = Asker::new(principal, admin.gate);
        assert_eq!(code(&less, request("a", "submitter")), ErrorCode::PermissionDenied);
    }

    #[test]
    fn an_operator_gives_all() {
        let operator = asks(None, None, Role::Operator);
        assert!(granted(&operator, &request("", "operator")).unwrap().scope.is_all());
        let verbs = vec!["submit".to_owned(), "view".to_owned()];
        let grant = granted(&operator, &CreateTokenRequest { verbs, ..request("a", "submitter") }).unwrap();
        assert_eq!(grant.verbs, Verbs::of(&[Verb::View, Verb::Submit]));
        let error = granted(&operator, &request("", "viewer")).unwrap_err();
        assert!(error.message().contains("--tenant"), "{error}");
        let error = granted(&operator, &request("A", "viewer")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
    }
}
