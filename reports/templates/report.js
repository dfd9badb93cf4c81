// The view: what the address holds, the form shows, and the matrix, the list and the panel are drawn from.
const PAGE = 20;
const MORE = 200;
const AXES = Object.keys(data.axes);
const KEYS = [...SIDES, "gather", "unfold", "turned", "row", "column", ...AXES, "trait", "verdict", "q", "order", "cell"];
// What may change without a stroke in the matrix but for the mark of what is chosen.
const BESIDE = new Set(["row", "column", "cell"]);
const form = find("filters");
const order = make("button", { type: "button", title: "Order by the worst ratio of error to bound" });
let view = readFragment();
let shown = PAGE;
let opener = null;
let drawn = null;

function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  const asked = Object.fromEntries(KEYS.map((key) => [key, given.get(key) ?? DEFAULT[key] ?? ""]));
  if (!verdicts.has(asked.verdict) && !VERDICTS.has(asked.verdict)) asked.verdict = "";
  if (!GATHERED.has(asked.gather)) asked.gather = "";
  if (asked.unfold !== "all") asked.unfold = "";
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

function change(changes, { step = false, kept = 0 } = {}) {
  turn(changes, { step });
  shown = PAGE;
  render({ kept });
}

// `kept` lines of the matrix are drawn at least.
function render({ kept = 0 } = {}) {
  const indices = matching(view);
  const rows = axesOf(view, "rows");
  const columns = axesOf(view, "columns");
  drawForm();
  drawMatrix(indices, kept);
  const listed = indices.filter((index) =>
    (!view.row || labelOf(index, rows) === view.row) && (!view.column || labelOf(index, columns) === view.column));
  if (view.order === "worst") listed.sort((one, other) => severity(other) - severity(one));
  drawList(listed, indices.length);
  drawCell();
}

function drawMatrix(indices, kept) {
  const wanted = KEYS.filter((key) => !BESIDE.has(key)).map((key) => view[key]).join("\n");
  if (wanted === drawn) {
    const chosen = hrefOf(view.row, view.column);
    for (const link of find("pivot").querySelectorAll("a")) mark(link, (view.row || view.column) && link.getAttribute("href") === chosen);
    return;
  }
  const many = hasMany(view);
  const scroller = find("pivot").parentElement;
  const top = kept ? scroller.scrollTop : 0;
  scroller.classList.toggle("tall", many);
  find("lines").hidden = !many;
  find("unfold").textContent = view.unfold ? "Fold all" : "Unfold all";
  drawPivot(indices, view, selecting(), many, kept);
  // At first there is nothing to scroll, and to set it costs a layout.
  if (many && drawn !== null) scroller.scrollTop = top;
  drawn = wanted;
}

function drawForm() {
  for (const control of form.elements) {
    if (control.name && control.value !== view[control.name]) control.value = view[control.name];
  }
  for (const chip of document.querySelectorAll(".chip")) mark(chip, chip.dataset.value === view[chip.dataset.key]);
}

// Where a row, a column or where they meet is chosen.
function hrefOf(row, column, rest = fragmentOf({ row: "", column: "", cell: "" })) {
  const chosen = [["row", row], ["column", column]].filter(([, label]) => label);
  const parts = [rest.slice(1), ...chosen.map(([key, label]) => `${key}=${encodeURIComponent(label)}`)];
  return `#${parts.filter(Boolean).join("&")}`;
}

// The link that chooses; there are hundreds, so that one listener serves them all.
function selecting() {
  const rest = fragmentOf({ row: "", column: "", cell: "" });
  return (row, column, ...children) => {
    const link = make("a", { href: hrefOf(row, column, rest) }, ...children);
    mark(link, row === view.row && column === view.column);
    return link;
  };
}

function select(link) {
  const given = new URLSearchParams(link.hash.slice(1));
  const again = link.hasAttribute("aria-current");
  change({ row: again ? "" : given.get("row") ?? "", column: again ? "" : given.get("column") ?? "" }, { step: true });
}

// A group or a fold is opened or closed where it stands.
function turnLine(button) {
  const key = button.dataset.turn;
  const turned = new Set(view.turned.split("~").filter(Boolean));
  if (!turned.delete(key)) turned.add(key);
  change({ turned: [...turned].join("~") }, { kept: pending.at });
  [...find("pivot").querySelectorAll("button[data-turn]")].find((one) => one.dataset.turn === key)?.focus({ preventScroll: true });
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
  find("unfold").addEventListener("click", () => change({ unfold: view.unfold ? "" : "all", turned: "" }));
  furtherButton.addEventListener("click", () => drawFurther()[0].querySelector("a, button")?.focus());
  addEventListener("beforeprint", () => drawFurther(pending.lines.length));
  order.addEventListener("click", () => change({ order: view.order ? "" : "worst" }, { kept: pending.at }));
  for (const chip of document.querySelectorAll(".chip")) {
    chip.addEventListener("click", (event) => {
      event.preventDefault();
      const { key, value } = chip.dataset;
      change({ [key]: view[key] === value ? "" : value }, { step: true });
      if (key === "verdict" && view.verdict) find("matrix").scrollIntoView();
    });
  }
  document.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || !(event.target instanceof Element)) return;
    const turning = event.target.closest("#pivot button[data-turn]");
    if (turning) {
      turnLine(turning);
      return;
    }
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
