// A sample of a signup page: how a portal signs a customer up at berth, and what it does with each response.
//
// A browser never has berth's function key. Its requests go to the portal's own backend, which adds the key and sends
// them on. Here that backend is berth itself: behind /api/sample are the few paths of the API that this page needs.
"use strict";

const BACKEND = "/api/sample";
const PAUSE = 300; // ms without a key press before a slug is checked
const STEPS = {
  place: "Choose a cluster",
  apply: "Create it on Kubernetes",
  start: "Start it, and open its address",
  remove: "Remove what was made",
};

const $ = (id) => document.getElementById(id);
const form = $("signup");
const seconds = (ms) => new Promise((resolve) => setTimeout(resolve, ms * 1000));

// One request. Whatever happens, the result has a status, a body to show, and the seconds to wait if it may be repeated.
async function call(method, path, { by = path, body, key } = {}) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  const request = { method, path: `/api${path}`, headers, body };
  let result;
  try {
    const response = await fetch(BACKEND + by, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
    const wait = Number(response.headers.get("Retry-After"));
    result = { status: response.status, said: response.statusText, headers: response.headers, body: await response.json(), wait };
  } catch {
    const problem = { title: "berth does not answer", detail: "Nothing is lost: the same request is sent again." };
    result = { status: 0, said: "no response", headers: new Headers(), body: problem, wait: 5 };
  }
  record(request, result);
  return result;
}

// 1. While somebody types: is this slug free?

let check = 0; // the number of the last check: what comes back for an earlier one is not shown
form.elements.slug.addEventListener("input", () => {
  const slug = form.elements.slug.value;
  const mine = ++check;
  if (!slug || /^\.+$/.test(slug)) return; // nothing, or no part of a path
  setTimeout(async () => {
    if (mine !== check) return;
    const { status, body } = await call("GET", `/slugs/${encodeURIComponent(slug)}`);
    if (mine !== check || status !== 200) return; // a check that fails is no obstacle: the signup says what is wrong
    if (body.free) say("slug", `${slug} is free`, "good");
    else say("slug", body.reason, "bad");
  }, PAUSE);
});
form.addEventListener("input", (event) => say(event.target.name, ""));

// 2. Send the signup.

// A signup keeps its key for as long as it says the same. So a second click, a reload or a lost response never makes a
// second tenant. Another one, such as with another slug, gets another key. This tab remembers it for a reload.
let signup = JSON.parse(sessionStorage.getItem("signup") ?? "{}");
const remember = (changes) => {
  signup = { ...signup, ...changes };
  sessionStorage.setItem("signup", JSON.stringify(signup));
};

const forget = () => {
  signup = {};
  sessionStorage.removeItem("signup");
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const body = Object.fromEntries(new FormData(form));
  if (JSON.stringify(body) !== JSON.stringify(signup.body)) remember({ body, key: crypto.randomUUID() });
  send();
});

async function send() {
  check += 1; // what a check says now comes too late
  for (const name of Object.keys(signup.body)) say(name, "");
  lock(true);
  for (;;) {
    showProblem(null);
    const { status, body, wait } = await call("POST", "/tenants", signup);
    if (status === 202) {
      remember({ operation: body.id });
      await follow(body, wait);
      break;
    }
    showProblem(body);
    // 429 and 503 say when to send the same again, with the same key. All else has to be changed first.
    if (!wait || !(await waitFor(wait))) break;
  }
  lock(false);
}

// 3. Follow the operation until it has ended. Each response says when to ask again.

async function follow(operation, wait) {
  form.hidden = true;
  $("progress").hidden = false;
  $("customer").focus();
  while (operation && !operation.finished_at) {
    showProgress(operation);
    await seconds(wait);
    const { status, body, wait: next } = await call("GET", `/operations/${operation.id}`);
    showProblem(status === 200 ? null : body);
    if (status === 200) operation = body;
    else if (!next) return ended();
    wait = next;
  }
  showProgress(operation);
  if (operation.state === "succeeded") await showAddress(operation);
  ended();
}

// 4. It is there: show its address.

async function showAddress(operation) {
  const { status, body } = await call("GET", `/tenants/${operation.tenant}`, { by: `/operations/${operation.id}/tenant` });
  showProblem(status === 200 ? null : body);
  if (status !== 200) return;
  $("address").textContent = $("address").href = body.url;
  $("open").hidden = false;
}

// 5. A reload continues where the tab was: the operation goes on, and a signup without a response is sent again.

$("send").disabled = false; // from here on this script sends the form, and not the browser
(async () => {
  for (const [name, value] of Object.entries(signup.body ?? {})) form.elements[name].value = value;
  if (signup.operation) {
    const { status, body, wait } = await call("GET", `/operations/${signup.operation}`);
    if (status === 200) return follow(body, wait);
    showProblem(body);
    if (status === 404) forget();
  } else if (signup.sending) send();
})();

$("again").addEventListener("click", () => {
  forget();
  location.reload();
});

// What is shown.

function lock(sending) {
  remember({ sending });
  for (const each of form.elements) each.disabled = sending;
  $("send").textContent = sending ? "Signing up …" : "Sign up";
}

// Say something about a field, next to it.
function say(name, text, kind = "") {
  const said = $(`${name}-said`);
  said.textContent = text;
  said.className = `said ${kind}`;
  if (kind === "bad") form.elements[name].setAttribute("aria-invalid", "true");
  else form.elements[name].removeAttribute("aria-invalid");
}

// A problem document (RFC 9457): what concerns a field next to it, all else together.
function showProblem(problem) {
  $("problem").hidden = !problem;
  $("problem-errors").replaceChildren();
  if (!problem) return;
  const errors = [...(problem.errors ?? [])];
  if (problem.type?.endsWith("/conflict") && !form.hidden) errors.push({ pointer: "/slug", detail: problem.detail });
  for (const { pointer, detail } of errors) {
    const name = pointer.slice(1);
    if ($(`${name}-said`)) say(name, detail, "bad");
    else $("problem-errors").append(element("li", "", `${pointer} ${detail}`));
  }
  $("problem-title").textContent = problem.title;
  $("problem-detail").textContent = problem.detail;
  $("problem-type").parentElement.hidden = !problem.type;
  $("problem-type").href = problem.type ?? "";
  setTimeout(() => form.querySelector("[aria-invalid]:enabled")?.focus()); // once the form is unlocked
}

// Count down; resolves to whether to go on.
function waitFor(wait) {
  const until = Date.now() + wait * 1000;
  $("waiting").hidden = false;
  return new Promise((resolve) => {
    const end = (goOn) => {
      clearInterval(timer);
      $("waiting").hidden = true;
      resolve(goOn);
    };
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      $("waiting-text").textContent = `It is sent again in ${left} s, with the same key.`;
      if (left <= 0) end(true);
    };
    const timer = setInterval(tick, 250);
    $("stop-waiting").onclick = () => end(false);
    tick();
  });
}

function showProgress(operation) {
  const { state, steps, percent, queue_position: position } = operation;
  const running = steps.find((step) => step.state === "running");
  const texts = {
    queued: position ? `Number ${position} in the queue.` : "It begins in a moment.",
    running: running?.message || "It is being made.",
    succeeded: `${operation.tenant} is active.`,
    failed: `It failed: ${operation.reason}`,
    cancelled: `It was cancelled: ${operation.reason}`,
  };
  if ($("said").textContent !== texts[state]) $("said").textContent = texts[state];
  $("said").className = { succeeded: "good", failed: "bad", cancelled: "bad" }[state] ?? "";
  $("failed").hidden = state !== "failed";
  $("percent").value = percent;
  const end = operation.finished_at ? new Date(operation.finished_at) : new Date(operation.updated_at);
  $("took").textContent = `${percent} %, ${((end - new Date(operation.created_at)) / 1000).toFixed(1)} s`;
  $("steps").replaceChildren(...steps.map(stepItem));
}

function stepItem({ name, state, message, seconds: took }) {
  const kind = { done: "good", running: "warn", failed: "bad" }[state] ?? "";
  const item = element("li");
  item.append(element("span", "", STEPS[name] ?? name), element("span", `state ${kind}`, took === null ? state : `${took.toFixed(1)} s`));
  if (message) item.append(element("p", "note message", message));
  return item;
}

function ended() {
  $("again").hidden = false;
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// The requests and responses as a developer wants to read and copy them.

function record({ method, path, headers, body }, result) {
  const title = `${method} ${path}`;
  const kind = title.split("/", 3).join("/"); // such as GET /api/operations
  const all = { "x-functions-key": "$FUNCTION_KEY", ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}`);
  const back = ["Content-Type", "Location", "Retry-After"].filter((name) => result.headers.has(name));
  const status = result.status ? `${result.status} ${result.said}`.trim() : result.said;

  $("nothing").hidden = true;
  let item = $("exchanges").lastElementChild;
  if (method !== "GET" || item?.dataset.kind !== kind) { // a poll takes the place of the last, as does another slug's check
    item?.querySelector("details").removeAttribute("open");
    item = $("exchange").content.cloneNode(true).firstElementChild;
    item.dataset.kind = kind;
    item.dataset.times = "0";
    item.querySelector("details").open = true;
    item.querySelector("button").addEventListener("click", copy);
    $("exchanges").append(item);
  }
  const times = (item.dataset.times = String(Number(item.dataset.times) + 1));
  const fill = (part, text) => (item.querySelector(part).textContent = text);
  fill(".request", title);
  fill(".state", status);
  item.querySelector(".state").className = `state ${result.status && result.status < 400 ? "good" : "bad"}`;
  fill(".times", times > 1 ? `the last of ${times}` : "");
  fill(".sent", [title, ...lines, ...(body ? ["", pretty(body)] : [])].join("\n"));
  fill(".received", [status, ...back.map((name) => `${name}: ${result.headers.get(name)}`), "", pretty(result.body)].join("\n"));
  fill(".curl", curl(method, path, headers, body));
}

function curl(method, path, headers, body) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const parts = [`curl -i ${quoted(location.origin + path)}`, '-H "x-functions-key: $FUNCTION_KEY"'];
  for (const [name, value] of Object.entries(headers)) parts.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (body) parts.push(`-d ${quoted(JSON.stringify(body))}`);
  return parts.join(" \\\n  ");
}

async function copy({ currentTarget: button }) {
  await navigator.clipboard.writeText(button.previousElementSibling.textContent);
  button.textContent = "Copied";
  await seconds(2);
  button.textContent = "Copy";
}

function pretty(value) {
  return JSON.stringify(value, null, 2);
}
