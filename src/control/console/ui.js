// What pages are made of: elements, figures in words, tables that keep their rows.

/** An element. Nothing is ever read as HTML: what peers and senders wrote stays text. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A line over the last values, from zero up. `draw(values)` draws it anew. */
export function sparkline(label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const [area, edge] = ["area", "edge"].map((name) => {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    svg.append(path);
    return path;
  });
  svg.draw = (values) => {
    const most = Math.max(1, ...values);
    const step = 100 / Math.max(1, values.length - 1);
    const points = values.map((value, n) => `${(n * step).toFixed(2)},${(38 - (value / most) * 35).toFixed(2)}`);
    edge.setAttribute("d", points.length > 1 ? `M${points.join("L")}` : "");
    area.setAttribute("d", points.length > 1 ? `M0,40L${points.join("L")}L100,40Z` : "");
  };
  return svg;
}

/** 1,234 as it is, then 12.3 k, 4.56 M. */
export function count(n) {
  if (n === undefined || n === null) return "–";
  if (n < 10000) return Math.round(n).toLocaleString("en");
  for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
    if (n >= size) return `${short(n / size)} ${unit}`;
  }
  return String(n);
}

function short(n) {
  return n >= 100 ? n.toFixed(0) : n >= 10 ? n.toFixed(1) : n.toFixed(2);
}

/** A rate: small ones with a digit behind the point. */
export function rate(n) {
  return n > 0 && n < 10 ? n.toFixed(1) : count(n);
}

export function bytes(n) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (n >= size) return `${short(n / size)} ${unit}`;
  }
  return `${Math.round(n)} B`;
}

export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  // What is not all is never shown as all.
  return `${(share < 100 ? Math.min(share, 99.9) : share).toFixed(share === 100 ? 0 : 1)} %`;
}

/** Seconds in the two largest units. */
export function duration(seconds) {
  if (seconds === undefined || seconds === null || !isFinite(seconds)) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds < 10 && !Number.isInteger(seconds) ? seconds.toFixed(1) : Math.round(seconds)} s`;
  const parts = [];
  let rest = Math.round(seconds);
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]) {
    if (rest >= size && parts.length < 2) {
      parts.push(`${Math.floor(rest / size)} ${unit}`);
      rest %= size;
    } else if (parts.length) break;
  }
  return parts.join(" ");
}

/** How long ago, or how long until. */
export function ago(time, now = Date.now()) {
  const seconds = (now - Date.parse(time)) / 1000;
  if (isNaN(seconds)) return "–";
  return seconds >= 0 ? `${duration(Math.max(1, Math.round(seconds)))} ago` : `in ${duration(Math.ceil(-seconds))}`;
}

/** Day and time of the reader's own zone; the title has it in UTC. */
export function when(time) {
  const date = new Date(time);
  const text = date.toLocaleString(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return h("time", { datetime: time, title: time }, text);
}

export function tag(text, kind = "", title = "") {
  return h("span", { class: `tag ${kind}`, ...(title && { title }) }, text);
}

export function card(title, ...children) {
  return h("section", { class: "card" }, title && h("h2", {}, title), ...children);
}

/** A large figure with a line of words; `set(value, unit, more)`. */
export function figure(label, withSpark = false) {
  const value = h("span");
  const unit = h("span", { class: "unit" });
  const more = h("div", { class: "more" });
  const spark = withSpark ? sparkline(label) : null;
  const element = h("section", { class: "card figure" }, h("div", { class: "label" }, label), h("div", { class: "value" }, value, " ", unit), more, spark);
  element.set = (text, unitText = "", moreText = "") => {
    for (const [node, words] of [[value, text], [unit, unitText], [more, moreText]]) {
      if (node.textContent !== words) node.textContent = words;
    }
  };
  element.draw = (values) => spark?.draw(values);
  return element;
}

/**
 * A table that keeps its rows: what has the focus keeps it, and text that is marked stays so.
 * Columns: `{ label, text(item) | node(item, row), class }`; `node` is made once a row, and may
 * have `update(item)`.
 */
export function table({ columns, key, empty, open, wide = true }) {
  const body = h("tbody");
  const head = h("tr", {}, columns.map((column) => h("th", { class: column.class, scope: "col" }, column.label)));
  const none = h("p", { class: "empty" }, empty);
  const element = h("div", { class: "scroll" }, h("table", { class: wide ? "wide" : "" }, h("thead", {}, head), body), none);
  const rows = new Map();

  function make(item) {
    const row = h("tr", open ? { tabindex: 0 } : {});
    row.cells_ = columns.map((column, n) => {
      const cell = h("td", { class: [column.class, n === 0 && "lead"].filter(Boolean).join(" "), "data-label": column.label });
      if (column.node) {
        const node = column.node(item, row);
        if (node) cell.append(node);
        cell.update_ = node?.update;
      }
      return cell;
    });
    row.append(...row.cells_);
    if (open) {
      const act = (event) => {
        if (event.target.closest("button, a, input")) return;
        open(row.item);
      };
      row.addEventListener("click", act);
      row.addEventListener("keydown", (event) => event.key === "Enter" && act(event));
    }
    return row;
  }

  element.set = (items) => {
    const seen = new Set();
    let before = null;
    for (const item of items) {
      const name = key(item);
      if (seen.has(name)) continue;
      seen.add(name);
      let row = rows.get(name);
      if (!row) rows.set(name, (row = make(item)));
      row.item = item;
      columns.forEach((column, n) => {
        const cell = row.cells_[n];
        if (column.node) return cell.update_?.(item);
        const text = String(column.text(item) ?? "");
        if (cell.textContent !== text) cell.textContent = text;
      });
      // Moved only where the order is another one.
      const place = before ? before.nextSibling : body.firstChild;
      if (place !== row) body.insertBefore(row, place);
      before = row;
    }
    for (const [name, row] of rows) {
      if (!seen.has(name)) {
        row.remove();
        rows.delete(name);
      }
    }
    none.hidden = seen.size > 0;
    element.firstChild.hidden = seen.size === 0;
  };
  // That there is nothing is said once it is known.
  element.firstChild.hidden = none.hidden = true;
  return element;
}

/** A cell that is built anew when its words change. */
export function cell(words, build) {
  return (item) => {
    const holder = h("span");
    let last;
    holder.update = (now) => {
      const text = words(now);
      if (text === last) return;
      last = text;
      holder.replaceChildren(build(now) ?? "");
    };
    holder.update(item);
    return holder;
  };
}

export function notice(text, bad = false) {
  const element = h("div", { class: bad ? "notice bad" : "notice", role: bad ? "alert" : "status" }, text);
  document.getElementById("notices").append(element);
  setTimeout(() => element.remove(), bad ? 9000 : 4000);
}

/** Whether the reader wants it. */
export function confirm(title, text, yes) {
  const dialog = document.getElementById("confirm");
  document.getElementById("confirm-title").textContent = title;
  document.getElementById("confirm-text").textContent = text;
  document.getElementById("confirm-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
