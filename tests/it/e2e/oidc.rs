//! Tokens of an OpenID Connect issuer beside API keys: what they open, what is refused, and what becomes
//! of them while the issuer changes its keys or is away.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};

use super::support::flows::{chain, flow, step};
use super::support::issuer::{ASK_EVERY, Issuer, Signer, now, part};
use super::support::{Answer, Client, Home, Recorder, Server, eventually, on_stores};

/// A key of an operator, whose name is a subject as well.
const ANN: &str = "0123456789abcdef-ann";

on_stores!([sqlite, postgres] [
    a_token_opens_what_its_role_and_its_namespace_do,
    four_eyes_tell_tokens_from_each_other_and_from_keys,
]);

/// An issuer with one key, and a server that takes its tokens and a key of `ann`.
async fn served(home: &Home) -> (Server, Issuer, Signer) {
    let signer = Signer::new("one");
    let issuer = Issuer::start(&[&signer]).await;
    let launch = issuer.with(home.launch());
    let launch = launch.set("RETHREAD_API_KEYS", &format!("ann:{ANN}:operator"));
    (launch.start().await, issuer, signer)
}

/// A client with a token of that subject.
fn by(server: &Server, (issuer, signer): (&Issuer, &Signer), subject: &str, role: &str) -> Client {
    let claims = issuer.claims(subject, &json!({ "rethread_role": role }));
    server.client().with_key(&signer.token(&claims))
}

#[track_caller]
fn refused(answer: &Answer, (status, code): (u16, &str), told: &str) {
    assert_eq!((answer.status, answer.json()["code"].as_str()), (status, Some(code)), "{told}");
    assert!(answer.text().contains(told), "{told}: {}", answer.text());
}

fn sleeper() -> Value {
    json!({ "name": "sleeper", "steps": [{ "id": "a", "kind": "sleep", "with": { "for": "1h" } }] })
}

async fn a_token_opens_what_its_role_and_its_namespace_do(home: Home) {
    let (server, issuer, signer) = served(&home).await;
    let from = (&issuer, &signer);
    let [reader, invoker, operator, admin] =
        ["reader", "invoker", "operator", "admin"].map(|role| by(&server, from, role, role));
    reader.get("/threads").await.expect(200);
    let start = json!({ "workflow": sleeper(), "threadId": "t" });
    let answer = reader.post("/invoke/async", &start).await;
    refused(&answer, (403, "forbidden"), "wants the role invoker; the token has the role reader");
    invoker.post("/invoke/async", &start).await.expect(202);
    let other = by(&server, from, "another", "invoker");
    refused(&other.post("/threads/t/pause", &json!({})).await, (403, "forbidden"), "operator");
    invoker.post("/threads/t/pause", &json!({})).await.expect(200);
    operator.post("/threads/t/abort", &json!({})).await.expect(200);
    refused(&operator.delete("/threads/t").await, (403, "forbidden"), "admin");
    let events = admin.events("t").await.join("\n");
    for name in ["oidc:invoker", "oidc:operator"] {
        assert!(events.contains(&format!(r#""by":"{name}""#)), "{events}");
    }

    let theirs = json!({ "rethread_role": ["x", "reader", "admin"], "rethread_namespace": "team" });
    let team = server.client().with_key(&signer.token(&issuer.claims("zoe", &theirs)));
    team.get("/status/t").await.expect(404);
    team.invoke(&json!({ "workflow": sleeper(), "threadId": "u" })).await;
    for client in [&admin, &server.client().with_key(ANN)] {
        client.get("/status/u").await.expect(404);
        client.post("/threads/u/abort", &json!({})).await.expect(404);
    }
    let token = team.post("/threads/u/stream-token", &json!({})).await.expect(201).json();
    let mut stream = server.client().stream(token["url"].as_str().unwrap(), &[]).await;
    stream.wait_for("workflow_start").await;
    team.post("/threads/u/abort", &json!({})).await.expect(200);
    admin.delete("/threads/t").await.expect(204);
}

async fn four_eyes_tell_tokens_from_each_other_and_from_keys(home: Home) {
    let (server, issuer, signer) = served(&home).await;
    let key = server.client().with_key(ANN);
    let [ann, bob, boss] = [("ann", "operator"), ("bob", "operator"), ("boss", "admin")]
        .map(|(subject, role)| by(&server, (&issuer, &signer), subject, role));
    // The key `ann` and the token of `ann` are two callers.
    for (approver, wrong, right) in [("oidc:ann", &key, &ann), ("ann", &ann, &key)] {
        let steps = json!([{ "id": "ask", "kind": "approval",
            "with": { "prompt": "pay?", "approvers": [approver, "admin"], "notBy": "starter" } }]);
        let thread = boss.invoke(&json!({ "workflow": flow(&steps) })).await;
        boss.until(&thread, "asks", |status| step(status, "ask")["status"] == "waiting").await;
        let open = boss.get(&format!("/interventions?threadId={thread}")).await.json();
        let resolve =
            format!("/interventions/{}/resolve", open["items"][0]["id"].as_str().unwrap());
        let yes = json!({ "choice": "approve" });
        // Whoever started it may not, another token may not, and a name in the body is none.
        for client in [&boss, &bob, wrong] {
            refused(&client.post(&resolve, &yes).await, (403, "not_an_approver"), "");
        }
        let claim = json!({ "choice": "approve", "by": approver });
        refused(&bob.post(&resolve, &claim).await, (403, "not_an_approver"), "");
        right.post(&resolve, &yes).await.expect(200);
        let output = step(&boss.completed(&thread).await, "ask")["output"].clone();
        assert_eq!(output["by"], approver);
    }
}

#[tokio::test]
async fn keys_of_every_kind_sign_tokens() {
    let all = ["ES256", "ES384", "EdDSA", "RS256", "PS512"];
    let signers = all.map(|algorithm| Signer::of(algorithm, algorithm));
    let issuer = Issuer::start(&signers.iter().collect::<Vec<_>>()).await;
    let home = Home::memory().await;
    let server = issuer.with(home.launch()).start().await;
    for signer in &signers {
        by(&server, (&issuer, signer), "ann", "reader").get("/threads").await.expect(200);
    }
    let health = by(&server, (&issuer, &signers[0]), "ann", "reader").get("/health").await.json();
    assert_eq!(health["checks"]["oidc_issuer"]["value"]["keys"], 5, "{health}");
    // An issuer alone is enough for keys to be needed, and for names to be those of a server with keys.
    let anybody = server.client();
    refused(&anybody.get("/threads").await, (401, "unauthenticated"), "");
    let token = signers[0].token(&issuer.claims("ann", &json!({ "rethread_role": "reader" })));
    let bearer = format!("Bearer {token}");
    let forwarded = [("x-forwarded-for", "203.0.113.7"), ("authorization", bearer.as_str())];
    anybody.send("GET", "/threads", &forwarded, "").await.expect(200);
    // Where an address or a browser carries it, a token is none.
    for path in [format!("/?key={token}"), format!("/stream?token={token}")] {
        anybody.get(&path).await.expect(401);
    }
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("ann:{token}"));
    let basic = [("authorization", &*format!("Basic {basic}"))];
    anybody.send("GET", "/threads", &basic, "").await.expect(401);
    assert!(!server.log().contains(&token));
}

/// An issuer with keys of three kinds: one for ES256, one for encryption, one of RSA.
struct Bed {
    issuer: Issuer,
    signer: Signer,
    encrypting: Signer,
    rsa: Signer,
}

/// A token, what is wrong with it, and what the answer says.
type Wrong = (&'static str, String, &'static str);

impl Bed {
    async fn start() -> Self {
        let issuer = Issuer::start(&[]).await;
        let (signer, encrypting) = (Signer::new("one"), Signer::new("enc"));
        let bed = Self { issuer, signer, encrypting, rsa: Signer::of("RS256", "rsa") };
        let mut for_encryption = bed.encrypting.public();
        for_encryption["use"] = json!("enc");
        bed.issuer.has(&[bed.signer.public(), for_encryption, bed.rsa.public()]);
        bed
    }

    /// Claims of an admin's token, but for these.
    fn claims(&self, but: &Value) -> Value {
        let mut all = json!({ "rethread_role": "admin" });
        all.as_object_mut().unwrap().extend(but.as_object().unwrap().clone());
        self.issuer.claims("ann", &all)
    }

    fn token(&self, but: &Value) -> String {
        self.signer.token(&self.claims(but))
    }

    fn with_header(&self, header: &Value) -> String {
        self.signer.token_with(header, &self.claims(&json!({})))
    }

    /// A token whose HMAC has this secret.
    fn hmac(&self, secret: &[u8]) -> String {
        let header = part(&json!({ "alg": "HS256", "kid": "rsa" }));
        let message = format!("{header}.{}", part(&self.claims(&json!({}))));
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
        mac.update(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
    }

    /// Tokens whose signature is good, and whose claims do not hold.
    fn wrong_claims(&self) -> Vec<Wrong> {
        let table = [
            ("expired", json!({ "exp": now() - 60 }), "has expired"),
            ("no end", json!({ "exp": null }), "exp"),
            ("too early", json!({ "nbf": now() + 300 }), "not valid yet"),
            ("other audience", json!({ "aud": "x" }), "another audience"),
            ("no audience", json!({ "aud": null }), "aud"),
            ("other issuer", json!({ "iss": "http://x" }), "another issuer"),
            ("a list of issuers", json!({ "iss": [self.issuer.name()] }), "another issuer"),
            ("no issuer", json!({ "iss": null }), "iss"),
            ("no subject", json!({ "sub": null }), "sub"),
            ("no namespace", json!({ "rethread_namespace": 1 }), "namespace"),
        ];
        table.map(|(what, but, told)| (what, self.token(&but), told)).into()
    }

    /// Tokens whose signature does not hold, or is none that is taken.
    fn wrong_signatures(&self) -> Vec<Wrong> {
        let good = self.token(&json!({}));
        let (head, signature) = good.rsplit_once('.').unwrap();
        let (header, body) = head.split_once('.').unwrap();
        let changed = part(&self.issuer.claims("root", &json!({ "rethread_role": "admin" })));
        let unsigned = part(&json!({ "alg": "none" }));
        let modulus = self.rsa.public()["n"].as_str().unwrap().to_owned();
        let key = URL_SAFE_NO_PAD.decode(&modulus).unwrap();
        let claims = self.claims(&json!({}));
        let other = |kid: &str, alg: &str| json!({ "alg": alg, "kid": kid });
        let crit = json!({ "alg": "ES256", "kid": "one", "crit": ["x"], "x": 1 });
        let logout = json!({ "alg": "ES256", "kid": "one", "typ": "logout+jwt" });
        let nameless = self.with_header(&json!({ "alg": "ES256" }));
        let as_es256 = self.rsa.token_with(&other("rsa", "ES256"), &claims);
        vec![
            ("none", format!("{unsigned}.{body}."), "algorithm"),
            ("none, signed", format!("{unsigned}.{body}.{signature}"), "algorithm"),
            ("the public text as secret", self.hmac(modulus.as_bytes()), "algorithm"),
            ("the public key as secret", self.hmac(&key), "algorithm"),
            ("changed", format!("{header}.{changed}.{signature}"), "signature"),
            ("cut", format!("{head}.{}", &signature[..40]), "signature"),
            ("another's key", Signer::new("one").token(&claims), "signature"),
            ("a key for encryption", self.encrypting.token(&claims), "no key of the issuer"),
            ("an algorithm of other keys", as_es256, "no key of the issuer"),
            ("another kind of key", self.with_header(&other("rsa", "RS256")), "signature"),
            ("no key named, of several", nameless, "no key of the issuer"),
            ("to log out", self.with_header(&logout), "another use"),
            ("critical", self.with_header(&crit), "not readable"),
        ]
    }
}

#[tokio::test]
async fn tokens_that_do_not_hold_open_nothing() {
    let bed = Bed::start().await;
    let home = Home::memory().await;
    let server = bed.issuer.with(home.launch()).start().await;
    let good = server.client().with_key(&bed.token(&json!({})));
    good.get("/threads").await.expect(200);
    for (what, token, told) in bed.wrong_claims().into_iter().chain(bed.wrong_signatures()) {
        let answer = server.client().with_key(&token).get("/threads").await;
        assert_eq!(answer.status, 401, "{what}: {}", answer.text());
        refused(&answer, (401, "unauthenticated"), told);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
        assert!(!server.log().contains(&token), "{what}");
    }
}

#[tokio::test]
async fn a_token_without_a_role_may_do_nothing_and_one_of_a_reader_reads() {
    let (server, issuer, signer) = served(&Home::memory().await).await;
    let token = |more: Value| signer.token(&issuer.claims("ann", &more));
    let none = server.client().with_key(&token(json!({ "rethread_role": ["Admin", "uma"] })));
    let reader = by(&server, (&issuer, &signer), "zoe", "reader");
    let document = reader.get("/openapi.json").await.expect(200).json();
    let (mut all, mut higher) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let Some(role) = operation["x-required-role"].as_str() else { continue };
            let path = path.replace(['{', '}'], "");
            let answer = none.send(&method.to_uppercase(), &path, &[], "").await;
            refused(
                &answer,
                (403, "forbidden"),
                &format!("wants the role {role}; the token names"),
            );
            all += 1;
            if role != "reader" {
                let answer = reader.send(&method.to_uppercase(), &path, &[], "").await;
                refused(&answer, (403, "forbidden"), &format!("wants the role {role}"));
                higher += 1;
            }
        }
    }
    assert!(all > 40 && higher > 15, "{all} {higher}");
    for path in ["/", "/ui/threads/t"] {
        none.get(path).await.expect(403);
    }
    // The audit list names the caller, who is known.
    let root = by(&server, (&issuer, &signer), "root", "admin");
    eventually("the refusal is in the audit list", async || {
        let page = root.get("/audit?by=oidc:ann&action=refused&limit=100").await.expect(200).json();
        let found = page["items"].as_array().unwrap().first().cloned()?;
        assert_eq!((&found["role"], &found["status"]), (&Value::Null, &json!(403)));
        Some(())
    })
    .await;
}

#[tokio::test]
async fn roles_and_namespaces_are_read_where_the_settings_say() {
    let signer = Signer::new("one");
    let issuer = Issuer::start(&[&signer]).await;
    let home = Home::memory().await;
    let launch = issuer.with(home.launch()).set("RETHREAD_OIDC_DEFAULT_ROLE", "reader");
    let launch = launch.set("RETHREAD_OIDC_ROLE_CLAIM", "realm_access.roles");
    let server = launch.set("RETHREAD_OIDC_NAMESPACE_CLAIM", "/org/team").start().await;
    let roles = json!({ "roles": ["offline_access", "invoker"] });
    let claims = issuer.claims("ci", &json!({ "realm_access": roles, "org": { "team": "a" } }));
    let ci = server.client().with_key(&signer.token(&claims));
    ci.invoke(&json!({ "workflow": sleeper(), "threadId": "t" })).await;
    let team = json!({ "org": { "team": "a" }, "rethread_role": "admin" });
    let plain = server.client().with_key(&signer.token(&issuer.claims("zoe", &team)));
    plain.get("/status/t").await.expect(200);
    let answer = plain.post("/threads/t/abort", &json!({})).await;
    refused(&answer, (403, "forbidden"), "the token has the role reader");
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_taken_without_a_restart_and_strangers_cannot_hurry_it() {
    let (server, issuer, signer) = served(&Home::memory().await).await;
    by(&server, (&issuer, &signer), "ann", "reader").get("/threads").await.expect(200);
    let before = issuer.fetches();
    let began = tokio::time::Instant::now();
    let next = Signer::new("two");
    issuer.has(&[next.public()]);
    let mut asked = 0;
    let ann = by(&server, (&issuer, &next), "ann", "reader");
    eventually("the new key is taken", async || {
        // Crowds of tokens with made-up keys, beside the one that is good.
        for _ in 0..20 {
            let stranger = Signer::new(&format!("made-up-{asked}"));
            by(&server, (&issuer, &stranger), "eve", "admin").get("/threads").await.expect(401);
            asked += 1;
        }
        (ann.get("/threads").await.status == 200).then_some(())
    })
    .await;
    let most = 1 + usize::try_from(began.elapsed().as_secs() / ASK_EVERY.as_secs()).unwrap();
    let fetches = issuer.fetches() - before;
    assert!((1..=most).contains(&fetches) && asked >= 20, "{fetches} for {asked}, at most {most}");
    // A key that the issuer has withdrawn is gone with the fetch that brought the new one.
    let old = by(&server, (&issuer, &signer), "ann", "reader").get("/threads").await;
    refused(&old, (401, "unauthenticated"), "no key of the issuer");
}

#[tokio::test]
async fn a_server_outlives_its_issuers_outages() {
    let signer = Signer::new("one");
    let issuer = Issuer::start(&[&signer]).await;
    issuer.is_away(true);
    let home = Home::memory().await;
    let launch = issuer.with(home.launch());
    let launch = launch.set("RETHREAD_API_KEYS", &format!("ann:{ANN}:operator"));
    let server = launch.start().await;
    let (ann, key) =
        (by(&server, (&issuer, &signer), "ann", "reader"), server.client().with_key(ANN));
    let answer = ann.get("/threads").await;
    refused(&answer, (503, "issuer_unavailable"), "");
    assert_eq!(answer.header("retry-after"), "10");
    key.get("/threads").await.expect(200);
    let warned = |health: &Value| health["checks"]["oidc_issuer"]["status"] == "warning";
    assert!(warned(&key.get("/health").await.expect(200).json()));
    assert!(server.log().contains("the issuer's keys cannot be fetched"), "{}", server.log());

    issuer.is_away(false);
    eventually("tokens are taken", async || {
        (ann.get("/threads").await.status == 200).then_some(())
    })
    .await;
    assert!(!warned(&key.get("/health").await.expect(200).json()));

    issuer.is_away(true);
    let next = by(&server, (&issuer, &Signer::new("two")), "ann", "reader");
    eventually("the outage is noticed", async || {
        (next.get("/threads").await.status == 503).then_some(())
    })
    .await;
    ann.get("/threads").await.expect(200);
    assert!(warned(&key.get("/health").await.expect(200).json()));
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let (server, issuer, signer) = served(&Home::memory().await).await;
    let recorder = Recorder::start().await;
    let ann = by(&server, (&issuer, &signer), "ann", "admin");
    ann.invoke(&json!({ "workflow": chain(&recorder, &["wait/one"]), "threadId": "t" })).await;
    // So much is left of it, clocks that differ by half a minute taken into account.
    let short = json!({ "rethread_role": "reader", "exp": now() - 22 });
    let short = server.client().with_key(&signer.token(&issuer.claims("zoe", &short)));
    let mut stream = short.stream("/stream/t", &[]).await;
    stream.wait_for("step_start").await;
    stream.rest().await;
    eventually("the token is refused", async || {
        (short.get("/threads").await.status == 401).then_some(())
    })
    .await;
    assert_eq!(ann.status("t").await["status"], "running");
}

#[tokio::test]
async fn an_issuer_without_an_audience_is_no_configuration() {
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_OIDC_ISSUER", "https://id.example.com");
    let output = launch.output(&["serve"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("RETHREAD_OIDC_AUDIENCE is not set"), "{said}");
}
