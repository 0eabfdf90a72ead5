//! A namespace that drives as many threads as it may, and has many more due, leaves places to others.

use serde_json::{Value, json};

use super::support::{Client, Home, Recorder, Server, eventually, on_stores};

on_stores!([sqlite, postgres] [
    whoever_fills_a_replica_leaves_places_to_others,
]);

/// The threads that one namespace may have driven at once.
const MOST: usize = 8;
/// The threads of the crowd that wait for these to end.
const WAITING: usize = 60;

const TEAM: &str = "0123456789abcdef-team";
const OTHER: &str = "0123456789abcdef-other";
const THIRD: &str = "0123456789abcdef-third";

async fn start(client: &Client, thread: &str, step: &Value) {
    let body = json!({ "threadId": thread, "workflow": { "name": "w", "steps": [step] } });
    client.post("/invoke/async", &body).await.expect(202);
}

fn call(url: &str) -> Value {
    json!({ "id": "call", "kind": "http", "with": { "url": url } })
}

async fn driving(client: &Client) -> usize {
    client.get("/monitor").await.expect(200).json()["driving"].as_u64().unwrap().try_into().unwrap()
}

/// Fills the server with threads of one namespace whose attempts hang.
async fn crowd(team: &Client, target: &Recorder) {
    for at in 0..MOST + WAITING {
        start(team, &format!("crowd{at}"), &call(&target.url("wait/held"))).await;
        if at < MOST {
            target.reached("held", at + 1).await;
        }
    }
}

async fn launch(home: &Home) -> (Server, [Client; 3]) {
    let keys =
        format!("team:{TEAM}:admin:team,other:{OTHER}:admin:other,third:{THIRD}:admin:third");
    let launch = home.launch().set("RETHREAD_API_KEYS", &keys);
    let server = launch.set("RETHREAD_MAX_RUNNING", &MOST.to_string()).start().await;
    let clients = [TEAM, OTHER, THIRD].map(|key| server.client().with_key(key));
    (server, clients)
}

async fn whoever_fills_a_replica_leaves_places_to_others(home: Home) {
    let target = Recorder::start().await;
    let (_server, [team, other, third]) = launch(&home).await;
    let signal = json!({ "id": "wait", "kind": "signal", "with": { "name": "go" } });
    start(&other, "parked", &signal).await;
    let is_parked = async || (driving(&other).await == 0).then_some(());
    eventually("it waits for its signal without a driver", is_parked).await;
    crowd(&team, &target).await;
    let quick = call(&target.url("ok/quick"));
    for round in 0..5 {
        for (client, name) in [(&other, "other"), (&third, "third")] {
            let thread = format!("{name}{round}");
            start(client, &thread, &quick).await;
            client.completed(&thread).await;
        }
    }
    other.post("/threads/parked/signals/go", &json!({})).await.expect(202);
    other.completed("parked").await;
    let why = team.get(&format!("/threads/crowd{MOST}/explain")).await.expect(200).json();
    assert!(why["sentence"].as_str().unwrap().contains("as many as it may"), "{why:#}");
    assert_eq!(target.hits_of("held").len(), MOST, "the crowd has none of the places beyond");
    assert_eq!(driving(&team).await, MOST);
    target.release("held");
    eventually("all of the crowd end", async || {
        let listed = team.get("/threads?status=completed&limit=100").await.expect(200).json();
        (listed["items"].as_array().unwrap().len() == MOST + WAITING).then_some(())
    })
    .await;
    assert_eq!(target.hits_of("held").len(), MOST + WAITING, "each once");
}
