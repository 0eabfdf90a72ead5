// Keeps the page up to date: the list by asking again, a thread by following its event stream.
// Everything from the server goes in as text or as HTML that the server has escaped.
"use strict";

const ENDED_STEP = ["completed", "failed", "skipped", "compensated"];
const MOST_EVENTS = 500;

const find = (selector, root = document) => root.querySelector(selector);

// Takes the live part of the page anew, unless somebody is reading or typing in it.
async function refresh() {
  const old = find("#live");
  if (old.contains(document.activeElement) || find("details[open]", old)) return false;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return false;
  const fresh = find("#live", new DOMParser().parseFromString(await answer.text(), "text/html"));
  if (fresh) old.replaceWith(document.adoptNode(fresh));
  return Boolean(fresh);
}

function keepListFresh(every) {
  setInterval(() => {
    if (document.visibilityState === "visible") refresh().catch(() => {});
  }, every);
}

function badge(place, status) {
  const span = document.createElement("span");
  span.className = "badge";
  span.dataset.status = status;
  span.textContent = status;
  if (place) place.replaceChildren(span);
}

function showProgress() {
  const rows = [...document.querySelectorAll("#steps [data-step] .badge")];
  const ended = rows.filter((one) => ENDED_STEP.includes(one.dataset.status)).length;
  const bar = find("#progress progress");
  if (!bar) return;
  bar.value = ended;
  find("#progress .count").textContent = `${ended}/${rows.length}`;
}

function showStep(event, status) {
  const row = [...document.querySelectorAll("#steps [data-step]")]
    .find((one) => one.dataset.step === event.stepId);
  if (!row || !status) return;
  badge(find(".status", row), status);
  if (event.attempt && event.type !== "compensation_complete") find(".attempts", row).textContent = event.attempt;
  if (event.data.durationMs !== undefined) find(".took", row).textContent = `${event.data.durationMs} ms`;
  const error = event.data.error;
  find(".result", row).textContent = error ? `${error.code} ${error.message}` : "";
  if (status === "running") badge(find("#status"), "running");
  showProgress();
}

function showEvent(event, text) {
  const list = find("#events");
  const item = document.createElement("li");
  item.value = event.seq;
  const details = item.appendChild(document.createElement("details"));
  details.appendChild(document.createElement("summary")).textContent =
    event.stepId ? `${event.type} ${event.stepId}` : event.type;
  details.appendChild(document.createElement("pre")).textContent = text.slice(0, 4096);
  list.append(item);
  while (list.children.length > MOST_EVENTS) list.firstElementChild.remove();
}

function follow(url, start, types) {
  let after = start, source = null, ended = false;
  const say = (text) => { find("#connection").textContent = text; };

  function take(message) {
    const event = JSON.parse(message.data);
    if (event.seq <= after) return;
    after = event.seq;
    showEvent(event, message.data);
    const told = types[event.type];
    showStep(event, told.step);
    if (told.thread) badge(find("#status"), told.thread);
    if (told.ends) {
      ended = true;
      source.close();
      say("The thread has ended.");
      refresh().catch(() => {});
    }
  }

  function connect() {
    if (ended || source || document.visibilityState === "hidden") return;
    source = new EventSource(`${url}?after=${after}`);
    source.onopen = () => say("Following events as they come.");
    source.onerror = () => {
      const closed = source.readyState === EventSource.CLOSED;
      say(closed ? "The stream has ended. Reload the page to see the thread as it is." : "Connecting again …");
    };
    for (const type of Object.keys(types)) source.addEventListener(type, take);
    source.addEventListener("reset", () => location.reload());
  }

  // Browsers open six connections to a server at most: tabs that nobody sees give theirs back.
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden" && source) {
      source.close();
      source = null;
    }
    connect();
  });
  connect();
}

const live = find("#live");
if (live && live.dataset.refresh) keepListFresh(Number(live.dataset.refresh));
if (live && live.dataset.stream) follow(live.dataset.stream, Number(live.dataset.after), JSON.parse(live.dataset.events));
