// What every ops page does beside htmx. No page needs it to be read.
"use strict";

// A one-time link has its secret behind the #, which no server's log sees: send it, and take it out of the address.
const signIn = document.querySelector("form[data-from-fragment]");
if (signIn && location.hash.length > 1) {
  signIn.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  signIn.submit();
}

// What is loaded again and again rests while nobody sees the page, and is loaded at once when somebody does.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.detail.elt.matches("[hx-trigger*='every ']")) event.preventDefault();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) document.dispatchEvent(new Event("seen-again"));
});

// Trouble with a request is told in one place, until the next one works.
const trouble = document.getElementById("trouble");
const told = (text) => {
  trouble.textContent = text;
  trouble.hidden = !text;
};
document.addEventListener("htmx:sendError", () => told("berth does not answer. What is shown may be old."));
document.addEventListener("htmx:responseError", (event) => {
  const page = new DOMParser().parseFromString(event.detail.xhr.responseText, "text/html");
  const said = [page.querySelector("h1"), page.querySelector("section p")].map((each) => each?.textContent ?? "");
  told(`${said.join(": ")} What is shown may be old.`);
});
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.successful) told("");
});
