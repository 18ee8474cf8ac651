// Campaigns: how far, how long still, what came of it; pause and resume.

import { get, post } from "/console/api.js";
import { card, cell, confirm, count, duration, h, notice, percent, table, tag } from "/console/ui.js";

const LOOK_EVERY = 3000;

function progress(row) {
  const bar = h("div", { class: "bar", role: "img" });
  const parts = ["done", "failed", "left"].map((name) => h("i", { class: name }));
  bar.append(...parts);
  bar.update = ({ delivered, failed, waiting, all }) => {
    [delivered, failed, waiting].forEach((part, n) => parts[n].style.setProperty("width", `${all ? (100 * part) / all : 0}%`));
    bar.setAttribute("aria-label", `${percent(delivered, all)} delivered, ${percent(failed, all)} failed`);
  };
  bar.update(row);
  return bar;
}

export const campaigns = {
  name: "campaigns",
  title: "Campaigns",
  show(root, { query }) {
    let rows = [];
    const wanted = h("input", { type: "search", placeholder: "Tenant or campaign", "aria-label": "Filter campaigns", value: query.get("q") ?? "", oninput: () => draw() });
    const note = h("p", { class: "hint" });

    async function pause(row, verb) {
      try {
        await post(`/v1/queue/${verb}`, { tenant: row.tenant, campaign: row.campaign });
        notice(`${row.campaign || row.tenant} is ${verb === "pause" ? "paused" : "resumed"}`);
        await look();
      } catch (error) {
        notice(error.message, true);
      }
    }

    function actions(row) {
      const button = h("button", { type: "button", class: "small" });
      button.addEventListener("click", async () => {
        const now = button.row;
        const all = `all of ${now.tenant}`;
        if (now.paused?.whole_tenant) return (await confirm(`Resume ${all}?`, `What keeps it is that ${all} is paused.`, "Resume")) && pause({ tenant: now.tenant }, "resume");
        if (now.paused) return pause(now, "resume");
        const what = now.campaign ? `${now.campaign} of ${now.tenant}` : all;
        if (await confirm(`Pause ${what}?`, "What is with peers goes on; the rest waits until it is resumed, over restarts too.", "Pause")) pause(now, "pause");
      });
      button.update = (now) => {
        button.row = now;
        const words = now.paused ? "Resume" : "Pause";
        if (button.textContent !== words) button.textContent = words;
        button.hidden = !now.tenant;
      };
      button.update(row);
      return button;
    }

    const grid = table({
      key: (row) => `${row.tenant} ${row.campaign}`,
      empty: "No campaign was sent in the last 30 days, and none waits.",
      columns: [
        { label: "Campaign", text: (row) => row.campaign || "(none)" },
        { label: "Tenant", text: (row) => row.tenant || "(none)" },
        { label: "State", node: cell((row) => String([row.state, row.paused?.since, row.why]), state) },
        { label: "Progress", node: progress },
        { label: "Delivered", class: "num", text: (row) => count(row.delivered) },
        { label: "Waiting", class: "num", text: (row) => count(row.waiting) },
        { label: "Failed", class: "num", text: (row) => count(row.failed) },
        { label: "Still takes", class: "num", text: (row) => (row.state !== "sending" ? "" : row.left === null ? "…" : duration(row.left)) },
        { label: "Opens", class: "num", text: (row) => opens(row) },
        { label: "Clicks", class: "num", text: (row) => (row.clicks ? count(row.clicks) : "") },
        { label: "Complaints", class: "num", text: (row) => (row.complaints ? count(row.complaints) : "") },
        { label: "", class: "act", node: actions },
      ],
    });
    root.append(
      h("h1", {}, "Campaigns"),
      h("div", { class: "tools" }, wanted),
      card("", grid, h("div", { class: "legend" }, h("span", {}, "Green: delivered"), h("span", {}, "Red: bounced, expired or suppressed"), h("span", {}, "Amber: waiting")), note),
    );

    function draw() {
      const words = wanted.value.trim().toLowerCase();
      grid.set(rows.filter((row) => `${row.tenant} ${row.campaign}`.toLowerCase().includes(words)));
    }

    async function look() {
      try {
        const page = await get("/v1/campaigns", { limit: 1000 });
        rows = page.campaigns.map(flat);
        const figures = page.figures_from ? "Figures are of the last 30 days; opens and clicks are those of people." : "Set count in [kpis] to see what became of mail.";
        note.textContent = page.more ? `${figures} There are more campaigns than are shown.` : figures;
        draw();
      } catch (error) {
        note.textContent = error.message;
      }
    }
    look();
    const timer = setInterval(look, LOOK_EVERY);
    return { leave: () => clearInterval(timer) };
  },
};

/** In a word; what keeps it is said where somebody points. */
function state(row) {
  if (row.state === "paused") return tag("paused", "warn", row.paused.since ? `since ${row.paused.since}` : "");
  if (row.state === "sending") return row.why ? tag("waits", "warn", row.why) : tag("under way");
  return tag("done", "good");
}

function opens(row) {
  return row.opens_people ? `${count(row.opens_people)} (${percent(row.opens_people, row.delivered)})` : "";
}

/** A campaign as the table has it. */
function flat({ tenant, campaign, state, paused, queue, left_s, figures }) {
  const of = figures ?? {};
  const failed = figures ? of.bounced + of.expired + of.suppressed + of.removed : 0;
  const [delivered, waiting] = [of.delivered ?? 0, queue.recipients];
  return { tenant, campaign, state, paused, why: queue.why, left: left_s, delivered, failed, waiting, all: delivered + failed + waiting, opens_people: of.opens_people, clicks: of.clicks, complaints: of.complaints };
}
