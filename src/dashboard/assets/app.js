// Keeps the page up to date: takes it anew and puts whatever has changed in its place. The server
// renders and escapes everything; this knows nothing of threads.
"use strict";

// The longest list of events.
const MOST_EVENTS = 500;
// The time between two looks at a thread, in milliseconds: its events may come fast.
const PAUSE = 250;
// The looks that may fail one after another before the next event has to come.
const MOST_FAILURES = 5;
// The parts of a thread's page, but for its events.
const PARTS = ["#status > *", "#progress > *", "#facts", "#notes", "#values", "#steps tr"];

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const sleep = (millis) => new Promise((done) => setTimeout(done, millis));

// Takes the live part of a page; null if it cannot be had now.
async function take(url) {
  try {
    const answer = await fetch(url, { headers: { accept: "text/html" } });
    if (!answer.ok) return null;
    return find("#live", new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    return null;
  }
}

// Puts a newer rendering in the place of an older one, unless they are alike. What is unfolded stays
// unfolded, and what has the focus keeps it.
function renew(older, newer) {
  const folds = all("details", newer);
  all("details", older).forEach((fold, at) => folds[at]?.toggleAttribute("open", fold.open));
  if (older.isEqualNode(newer)) return;
  const focused = all("a, summary", older).indexOf(document.activeElement);
  older.replaceWith(document.adoptNode(newer));
  all("a, summary", newer)[focused]?.focus();
}

// Takes the list anew from time to time, unless somebody goes through it.
function keepListFresh(every) {
  setInterval(async () => {
    const old = find("#live");
    if (document.visibilityState !== "visible" || old.contains(document.activeElement)) return;
    const fresh = await take(location.href);
    if (fresh) renew(old, fresh);
  }, every);
}

function appendEvents(lines) {
  const list = find("#events");
  const last = list.lastElementChild?.value ?? 0;
  const newer = lines.filter((line) => line.value > last);
  // A page has only the newest events: no list has a gap.
  if (newer.length && newer[0].value > last + 1) list.replaceChildren();
  list.append(...newer.map((line) => document.adoptNode(line)));
  while (list.children.length > MOST_EVENTS) list.firstElementChild.remove();
}

function showThread(fresh) {
  for (const part of PARTS) {
    const newer = all(part, fresh);
    all(part, find("#live")).forEach((older, at) => newer[at] && renew(older, newer[at]));
  }
  appendEvents(all("#events > li", fresh));
}

// Follows a thread: its stream says that there is more, its page says what.
function follow({ stream, events, after }) {
  let shown = Number(after), head = shown, source = null, ended = false, looking = false;
  const say = (text) => { find("#connection").textContent = text; };

  async function look() {
    if (looking) return;
    looking = true;
    for (let failures = 0; shown < head && !ended && failures < MOST_FAILURES;) {
      const fresh = await take(`${location.pathname}?after=${shown}`);
      if (fresh) {
        showThread(fresh);
        shown = Number(fresh.dataset.after);
        ended = !fresh.dataset.stream;
      }
      failures = fresh ? 0 : failures + 1;
      await sleep(PAUSE * 2 ** failures);
    }
    looking = false;
    if (!ended) return;
    source?.close();
    say("The thread has ended.");
  }

  function connect() {
    if (ended || source || document.visibilityState === "hidden") return;
    source = new EventSource(`${stream}?after=${shown}`);
    source.onopen = () => say("Following events as they come.");
    source.onerror = () => {
      if (ended) return;
      const closed = source.readyState === EventSource.CLOSED;
      say(closed ? "The stream has ended. Reload the page to see the thread as it is." : "Connecting again …");
    };
    const more = (event) => {
      head = Math.max(head, Number(event.lastEventId));
      look();
    };
    for (const type of events.split(" ")) source.addEventListener(type, more);
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
if (live?.dataset.refresh) keepListFresh(Number(live.dataset.refresh));
if (live?.dataset.stream) follow(live.dataset);
