// The view: what the address holds, the form shows, and the matrix, the list and the panel are drawn from.
const PAGE = 20;
const MORE = 200;
const AXES = Object.keys(data.axes);
const KEYS = [...SIDES, "row", "column", ...AXES, "verdict", "q", "order", "cell"];
const form = find("filters");
const order = make("button", { type: "button", title: "Order by the worst ratio of error to bound" });
let view = readFragment();
let shown = PAGE;
let opener = null;

function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  const asked = Object.fromEntries(KEYS.map((key) => [key, given.get(key) ?? DEFAULT[key] ?? ""]));
  if (!verdicts.has(asked.verdict) && !VERDICTS.has(asked.verdict)) asked.verdict = "";
  return withKnownAxes(asked);
}

function fragmentOf(changes) {
  const wanted = { ...view, ...changes };
  return "#" + new URLSearchParams(KEYS.filter((key) => wanted[key] !== (DEFAULT[key] ?? "")).map((key) => [key, wanted[key]]));
}

function turn(changes, { step }) {
  const fragment = fragmentOf(changes);
  history[step ? "pushState" : "replaceState"](null, "", fragment === "#" ? location.pathname + location.search : fragment);
  view = { ...view, ...changes };
}

function change(changes, { step = false } = {}) {
  turn(changes, { step });
  shown = PAGE;
  render();
}

function render() {
  const indices = matching(view);
  const rows = axesOf(view, "rows");
  const columns = axesOf(view, "columns");
  drawForm();
  drawPivot(indices, view, selecting());
  const listed = indices.filter((index) =>
    (!view.row || labelOf(index, rows) === view.row) && (!view.column || labelOf(index, columns) === view.column));
  if (view.order === "worst") listed.sort((one, other) => severity(other) - severity(one));
  drawList(listed, indices.length);
  drawCell();
}

function drawForm() {
  for (const control of form.elements) {
    if (control.name && control.value !== view[control.name]) control.value = view[control.name];
  }
  for (const chip of document.querySelectorAll(".chip")) mark(chip, chip.dataset.verdict === view.verdict);
}

// The link that chooses a row, a column or where they meet; there are hundreds, so that one listener serves them all.
function selecting() {
  const rest = fragmentOf({ row: "", column: "", cell: "" });
  return (row, column, ...children) => {
    const chosen = [["row", row], ["column", column]].filter(([, label]) => label);
    const fragment = [rest.slice(1), ...chosen.map(([key, label]) => `${key}=${encodeURIComponent(label)}`)].filter(Boolean);
    const link = make("a", { href: `#${fragment.join("&")}` }, ...children);
    mark(link, row === view.row && column === view.column);
    return link;
  };
}

function select(link) {
  const given = new URLSearchParams(link.hash.slice(1));
  const place = [...find("pivot").querySelectorAll("a")].indexOf(link);
  const again = link.hasAttribute("aria-current");
  change({ row: again ? "" : given.get("row") ?? "", column: again ? "" : given.get("column") ?? "" }, { step: true });
  find("pivot").querySelectorAll("a")[place]?.focus();
}

function drawList(listed, matched) {
  find("rows").replaceChildren(...listed.slice(0, shown).map(listRow));
  const unknown = view.cell && !indexOf.has(view.cell) ? ` The link names a cell that is not in this report: ${view.cell}.` : "";
  find("matches").textContent = `${whole(matched)} of ${whole(total)} cells match.${unknown}`;
  const chosen = [view.row, view.column].filter(Boolean);
  const clear = make("button", { type: "button", onclick: () => change({ row: "", column: "" }) }, "All rows and columns");
  find("selection").replaceChildren(
    `${whole(listed.length)} ${listed.length === 1 ? "cell" : "cells"}${chosen.length ? " of " + chosen.join(" × ") : ""}`,
    make("span", { class: "printed" }, listed.length > shown ? `, of which the first ${shown} are printed` : ""),
    ...(chosen.length ? [clear] : []));
  offerMore(listed);
  find("worst").setAttribute("aria-sort", view.order ? "descending" : "none");
  order.textContent = view.order ? "worst ratio ▾" : "worst ratio";
}

function offerMore(listed) {
  const more = find("more");
  const left = listed.length - shown;
  more.hidden = left <= 0;
  more.textContent = `Show ${Math.min(MORE, left)} more of ${whole(left)}`;
  more.onclick = () => {
    const rows = listed.slice(shown, shown + MORE).map(listRow);
    find("rows").append(...rows);
    rows[0].querySelector("a").focus();
    shown += MORE;
    offerMore(listed);
  };
}

function listRow(index) {
  const id = valueOf(index, "cell");
  const worst = valueOf(index, "worst");
  const reason = valueOf(index, "reason") || "";
  const row = make("tr", { "data-cell": id },
    make("td", {}, linkTo(id, id)),
    make("td", {}, badge(index)),
    make("td", { class: "number" }, worst === undefined ? "" : number(worst)),
    make("td", {}, (valueOf(index, "kernels") || []).join(", ")),
    make("td", { title: reason }, reason.slice(0, 120)));
  mark(row, id === view.cell);
  return row;
}

function linkTo(id, text) {
  return make("a", { class: "cell", href: fragmentOf({ cell: id }) }, text);
}

function drawCell() {
  for (const row of find("rows").rows) mark(row, row.dataset.cell === view.cell);
  drawDetail(indexOf.has(view.cell) ? cellAt(indexOf.get(view.cell)) : null, linkTo, close);
}

function open(id, from) {
  // From one cell to a related one: the first of them is where to go back to.
  if (!detail.contains(from)) opener = from;
  turn({ cell: id }, { step: true });
  drawCell();
  find("detail-title")?.focus({ preventScroll: true });
}

function close() {
  const id = view.cell;
  turn({ cell: "" }, { step: false });
  drawCell();
  const back = opener?.isConnected ? opener : [...find("rows").rows].find((row) => row.dataset.cell === id)?.querySelector("a");
  back?.focus({ preventScroll: true });
}

// An axis that is taken already changes places with the one that is chosen for it.
function pivoted(changed, value) {
  const before = Object.fromEntries(SIDES.map((side) => [side, view[side]]));
  const taken = value && SIDES.find((side) => side !== changed && before[side] === value);
  return { ...before, [changed]: value, ...(taken ? { [taken]: before[changed] } : {}), row: "", column: "" };
}

function listen() {
  form.addEventListener("input", ({ target }) => {
    if (target.name in DEFAULT) change(pivoted(target.name, target.value), { step: true });
    else if (target.name) change({ [target.name]: target.value });
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    change(Object.fromEntries(KEYS.map((key) => [key, key === "cell" ? view.cell : DEFAULT[key] ?? ""])));
  });
  find("swap").addEventListener("click", () => change({
    rows: view.columns, rows2: view.columns2, columns: view.rows, columns2: view.rows2, row: view.column, column: view.row,
  }, { step: true }));
  order.addEventListener("click", () => change({ order: view.order ? "" : "worst" }));
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", (event) => {
      event.preventDefault();
      change({ verdict: view.verdict === chip.dataset.verdict ? "" : chip.dataset.verdict }, { step: true });
      if (view.verdict) find("matrix").scrollIntoView();
    });
  }
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || !(event.target instanceof Element)) return;
    const entry = event.target.closest("#pivot a");
    if (entry) {
      event.preventDefault();
      select(entry);
      return;
    }
    const section = event.target.closest("a[href^='#']:not([href*='='])");
    if (section && location.hash.includes("=")) {
      // The address holds the view, and a link to a section must not take it away.
      event.preventDefault();
      const head = document.querySelector(section.hash);
      head.scrollIntoView();
      head.tabIndex = -1;
      head.focus({ preventScroll: true });
      return;
    }
    const link = event.target.closest("a.cell") || event.target.closest("#rows tr")?.querySelector("a.cell");
    const id = link && new URLSearchParams(link.hash.slice(1)).get("cell");
    if (!id || String(getSelection())) return;
    event.preventDefault();
    open(id, link);
  });
  document.addEventListener("keydown", (event) => {
    // A field that holds words is cleared first.
    const clears = event.target.type === "search" && event.target.value;
    if (event.key === "Escape" && !detail.hidden && !clears) close();
  });
  // Pushed and typed fragments alike; one without "=" is a link to a section.
  addEventListener("popstate", () => {
    if (location.hash && !location.hash.includes("=")) return;
    view = readFragment();
    shown = PAGE;
    render();
  });
}

find("worst").replaceChildren(order);
form.hidden = false;
find("list").hidden = false;
for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
listen();
render();
