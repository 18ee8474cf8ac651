// Throughput, delivery rate, queue, shards, upstream relays.

import { bytes, card, cell, count, duration, figure, h, percent, rate, table, tag } from "/console/ui.js";

const STANDS = [["healthy", "good"], ["probing", "warn"], ["ejected", "bad"]];

function upstreamTags(row) {
  return h("span", {}, STANDS.filter(([name]) => row[name]).map(([name, kind]) => [tag(`${name} ${row[name]}`, kind), " "]).flat());
}

export const overview = {
  name: "overview",
  title: "Overview",
  show(root) {
    const into = figure("Received", true);
    const out = figure("Delivered", true);
    const share = figure("Delivery rate", true);
    const queue = figure("In the queue", true);
    const alerts = h("div");
    const shards = table({
      key: (row) => row.n,
      empty: "No shard has answered yet.",
      columns: [
        { label: "Shard", text: (row) => row.n },
        { label: "State", node: cell((row) => row.state, (row) => tag(row.state, row.state === "ok" ? "good" : "bad")) },
        { label: "In/s", class: "num", text: (row) => rate(row.rates.received) },
        { label: "Out/s", class: "num", text: (row) => rate(row.rates.delivered) },
        { label: "Clients", class: "num", text: (row) => count(row.sessions) },
        { label: "Peers", class: "num", text: (row) => count(row.connections) },
        { label: "Queued", class: "num", text: (row) => count(row.recipients) },
      ],
    });
    const upstreams = table({
      key: (row) => row.upstream,
      empty: "No upstream relays: mail goes to MX hosts.",
      columns: [
        { label: "Upstream relay", class: "mono", text: (row) => row.upstream },
        { label: "Shards", class: "act", node: cell((row) => JSON.stringify(row), upstreamTags) },
      ],
    });
    const domains = table({
      key: (row) => row.domain,
      empty: "The queue is empty.",
      columns: [
        { label: "Domain", node: (row) => h("a", { href: `#/messages?q=${encodeURIComponent(row.domain)}` }, row.domain) },
        { label: "Recipients", class: "num", text: (row) => count(row.recipients) },
      ],
      wide: false,
    });
    const paused = table({
      key: (row) => `${row.tenant} ${row.campaign ?? ""}`,
      empty: "Nothing is paused.",
      columns: [
        { label: "Tenant", text: (row) => row.tenant },
        { label: "Campaign", text: (row) => row.campaign ?? "all" },
      ],
      wide: false,
    });
    const totals = h("p", { class: "hint" });
    root.append(
      h("h1", {}, "Overview"),
      alerts,
      h("div", { class: "grid" }, into, out, share, queue),
      h("div", { class: "grid two" }, card("Shards", shards, totals), card("Upstream relays", upstreams)),
      h("div", { class: "grid two" }, card("Most in the queue", domains), card("Paused", paused)),
    );
    let warned = "";
    return {
      update({ now, history }) {
        const { rates, totals: all, queue: waits } = now;
        into.set(rate(rates.received), "recipients/s", `${rate(rates.messages)} messages/s, ${bytes(rates.received_bytes)}/s`);
        into.draw(history.map((one) => one.received));
        out.set(rate(rates.delivered), "recipients/s", `${rate(rates.deferred)} deferred/s, ${rate(rates.bounced)} bounced/s`);
        out.draw(history.map((one) => one.delivered));
        const over = all.delivered + all.bounced + all.expired;
        share.set(percent(all.delivered, over), "", `${count(all.bounced)} bounced, ${count(all.expired)} expired of ${count(over)}`);
        share.draw(history.map((one) => (one.delivered + one.bounced ? one.delivered / (one.delivered + one.bounced) : 1)));
        queue.set(count(waits.recipients), "recipients", `${count(waits.deferred)} deferred, ${count(waits.ready)} ready, ${count(waits.held)} held`);
        world_queue.push(waits.recipients);
        if (world_queue.length > 180) world_queue.shift();
        queue.draw(world_queue);
        shards.set(now.shards.map((row, n) => ({ ...row, n })));
        upstreams.set(now.upstreams);
        domains.set(waits.domains.map(([domain, recipients]) => ({ domain, recipients })));
        paused.set(now.paused);
        totals.textContent = `relay-fast ${now.version}, up ${duration(now.up_s)}; ${count(all.messages)} messages in ${bytes(all.received_bytes)} since then.`;
        const sick = now.shards.map((row, n) => [n, row.state]).filter(([, state]) => state !== "ok");
        const words = [...sick.map(([n, state]) => `Shard ${n}: ${state}`), ...now.failing_domains];
        if (words.join("\n") !== warned) {
          warned = words.join("\n");
          alerts.replaceChildren(...words.map((line, n) => h("div", { class: n < sick.length ? "alert" : "alert warn", role: "alert" }, line)));
        }
      },
    };
  },
};

// Kept over visits of the page: the node does not tell how the queue was.
const world_queue = [];
