//! Who guesses keys is slowed down, and nobody else is.

use tokio::time::Instant;

use super::support::{Client, Home, Server, eventually};

const OPS: &str = "0123456789abcdef-ops";
const CI: &str = "fedcba9876543210-ci";

async fn server(per_minute: &str) -> (Home, Server) {
    let keys = format!("ops:{OPS},ci:{CI}");
    let home = Home::memory().await;
    let launch = home.launch().set("RETHREAD_API_KEYS", &keys);
    let server = launch.set("RETHREAD_WRONG_KEYS", per_minute).start().await;
    (home, server)
}

/// Tries wrong keys until they are not looked at any more, and gives how many were.
async fn guess(client: &Client) -> usize {
    for number in 0..1_000 {
        let answer = client.clone().with_key(&format!("guess-{number}")).get("/threads").await;
        if answer.status == 429 {
            assert_eq!(answer.json()["code"], "too_many_wrong_keys");
            assert!(answer.header("www-authenticate").is_empty());
            return number;
        }
        answer.expect(401);
    }
    panic!("nobody slows this down");
}

#[tokio::test]
async fn a_guesser_is_slowed_down_and_learns_nothing_while_others_are_served() {
    let (_home, server) = server("20").await;
    let (guesser, neighbour) = (server.client().at("127.0.0.2"), server.client().at("127.0.0.1"));
    assert!(guess(&guesser).await >= 20);
    // The answer to a right key is that to a wrong one, byte for byte but for its own id.
    let tell = async |secret: &str| {
        let headers = [("x-request-id", "same")];
        let answer = guesser.clone().with_key(secret).send("GET", "/threads", &headers, "").await;
        (answer.status, answer.text().to_owned())
    };
    eventually("two tries fall between two tokens", async || {
        let (right, wrong) = (tell(CI).await, tell("wrong").await);
        (right.0 == 429 && right == wrong).then_some(())
    })
    .await;
    for secret in [OPS, CI] {
        neighbour.clone().with_key(secret).get("/threads").await.expect(200);
    }
    neighbour.with_key("wrong").get("/threads").await.expect(401);
    guesser.get("/health/live").await.expect(200);
    guesser.get("/threads").await.expect(401);
}

#[tokio::test]
async fn a_key_that_was_right_before_goes_on_from_an_address_that_a_guesser_shares() {
    let (_home, server) = server("20").await;
    let proxy = server.client().at("127.0.0.2");
    let worker = proxy.clone().with_key(OPS);
    worker.get("/threads").await.expect(200);
    guess(&proxy).await;
    for _ in 0..50 {
        worker.get("/threads").await.expect(200);
        guess(&proxy).await;
    }
}

#[tokio::test]
async fn after_the_time_that_is_told_a_key_is_looked_at_again() {
    // One a second.
    let (_home, server) = server("60").await;
    let guesser = server.client().at("127.0.0.3");
    guess(&guesser).await;
    let refused = guesser.clone().with_key("wrong").get("/threads").await;
    if refused.status == 429 {
        assert_eq!(refused.header("retry-after"), "1");
    }
    let right = guesser.with_key(OPS);
    let answered = async || (right.get("/threads").await.status == 200).then_some(());
    eventually("a key is looked at again", answered).await;
}

#[tokio::test]
async fn the_log_names_the_address_once_a_second_and_never_the_key() {
    let (_home, server) = server("20").await;
    let (guesser, started) = (server.client().at("127.0.0.2"), Instant::now());
    guess(&guesser).await;
    // A key in a page's address is one like any other.
    let page = server.client().at("127.0.0.4").get("/?key=guess-in-address").await.expect(401);
    assert!(!page.text().contains("guess-in-address"));
    let lines = eventually("it is told", async || {
        let log = server.log();
        let lines: Vec<String> = log
            .lines()
            .filter(|line| line.contains("keys that are not known"))
            .map(str::to_owned)
            .collect();
        (lines.iter().any(|line| line.contains("127.0.0.4"))).then_some(lines)
    })
    .await;
    let of_guesser = lines.iter().filter(|line| line.contains("127.0.0.2")).count();
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    assert!((1..=seconds + 1).contains(&of_guesser), "{of_guesser} in {seconds} s: {lines:?}");
    assert!(lines.iter().all(|line| line.contains("WARN")), "{lines:?}");
    assert!(!server.log().contains("guess-"), "a key is in the log");
    let metrics = server.client().with_key(OPS).get("/metrics").await.expect(200);
    let counted = |outcome: &str| {
        let name = format!("rethread_wrong_keys_total{{outcome=\"{outcome}\"}} ");
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name}")).parse::<usize>().unwrap()
    };
    assert!(counted("checked") > 20 && counted("unchecked") >= 1);
    assert!(!metrics.text().contains("127.0.0.2"));
}
