// The frame around the pages: where one is, keys, light and dark, who is logged in, what is live.

import { live, onLogin, token } from "/console/api.js";
import { h, notice } from "/console/ui.js";
import { overview } from "/console/overview.js";
import { destinations } from "/console/destinations.js";
import { campaigns } from "/console/campaigns.js";
import { bounces } from "/console/bounces.js";
import { messages } from "/console/messages.js";
import { domain } from "/console/domain.js";

const PAGES = [overview, destinations, campaigns, bounces, messages, domain];
const HISTORY = 180;

const main = document.getElementById("main");
const byId = (id) => document.getElementById(id);

/** What pages share: the last overview, and those before it. */
const world = { now: null, history: [] };
let page = null;
let shown = null;

// --- Where one is ---

function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  return { name: name || "overview", rest, query: new URLSearchParams(query) };
}

function show() {
  const { name, rest, query } = place();
  const next = PAGES.find((one) => one.name === name) ?? PAGES[0];
  shown?.leave?.();
  page = next;
  document.title = `${next.title} · ${world.now?.hostname ?? "relay-fast"}`;
  for (const link of byId("nav").children) {
    if (link.dataset.page === next.name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren();
  shown = next.show(main, { rest, query, world });
  if (world.now) shown?.update?.(world);
}

byId("nav").append(
  ...PAGES.map((one, n) => h("a", { href: `#/${one.name}`, "data-page": one.name, title: `${one.title} (${n + 1})` }, one.title)),
);
addEventListener("hashchange", () => {
  show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});

byId("find").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("find-text").value.trim();
  if (words) location.hash = `#/messages?q=${encodeURIComponent(words)}`;
});

// --- Light and dark ---

const THEME = "relay-fast-theme";
const setTheme = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
};
setTheme(localStorage.getItem(THEME));
function turnTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  localStorage.setItem(THEME, next);
  setTheme(next);
}
byId("theme").addEventListener("click", turnTheme);

// --- Keys ---

const KEYS = [
  ...PAGES.map((one, n) => [String(n + 1), one.title]),
  ["/", "Find a message"],
  ["j k", "Next and previous row"],
  ["Enter", "Open a row"],
  ["t", "Light or dark"],
  ["?", "These keys"],
];
byId("key-list").append(...KEYS.flatMap(([key, words]) => [h("dt", {}, key.split(" ").map((one) => h("kbd", {}, one))), h("dd", {}, words)]));
byId("help").addEventListener("click", () => byId("keys").showModal());

function moveRow(step) {
  const rows = [...main.querySelectorAll("tbody tr[tabindex]")];
  const at = rows.indexOf(document.activeElement?.closest("tr"));
  rows[Math.max(0, Math.min(rows.length - 1, at + step))]?.focus();
}

addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "Escape" && typing && !event.target.closest("dialog")) event.target.blur();
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const number = Number(event.key);
  if (number >= 1 && number <= PAGES.length) location.hash = `#/${PAGES[number - 1].name}`;
  else if (event.key === "/") byId("find-text").focus();
  else if (event.key === "j") moveRow(1);
  else if (event.key === "k") moveRow(-1);
  else if (event.key === "t") turnTheme();
  else if (event.key === "?") byId("keys").showModal();
  else return;
  event.preventDefault();
});

// --- Who is logged in ---

let asking = null;
onLogin((wasWrong) => {
  asking ??= new Promise((resolve) => {
    token.forget();
    const dialog = byId("login");
    if (wasWrong) byId("login-why").textContent = "The node does not know this token.";
    byId("token").value = "";
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    dialog.showModal();
    dialog.addEventListener(
      "close",
      () => {
        token.set(byId("token").value.trim());
        asking = null;
        resolve();
      },
      { once: true },
    );
  });
  return asking;
});

// --- What is live ---

function setLive(on, why = "") {
  const line = byId("live");
  const words = on ? "live" : "no answer";
  if (line.textContent === words && line.title === why) return;
  line.className = on ? "live on" : "live off";
  line.textContent = words;
  line.title = why;
}

live("/v1/live", {
  event(overview) {
    if (overview.error) return setLive(false, overview.error);
    setLive(true);
    world.now = overview;
    world.history.push({ time: overview.time, ...overview.rates });
    if (world.history.length > HISTORY) world.history.shift();
    byId("hostname").textContent = overview.hostname;
    document.title = `${page.title} · ${overview.hostname}`;
    try {
      shown?.update?.(world);
    } catch (error) {
      notice(`This page cannot show what the node says: ${error.message}`, true);
      throw error;
    }
  },
  state: setLive,
});

show();
