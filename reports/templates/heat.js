// The matrix where it has many rows: a line for each, gathered and folded, and drawn only as far as one scrolls.
const AT_ONCE = 600; // entries
const FOLDS_FROM = 2; // a line that stands for a single row spares nothing
const FAILING_SHOWN = 30; // of one result in one group: who fails is what a reader came for

const kindGravity = data.verdicts.flatMap(([, , , gravity, gravityKnown]) => [gravity, gravityKnown]);
const factsOf = (index) => data.architectures[valueOf(index, "architecture")] || {};
const GATHERED = new Map([
  ["", (index) => valueOf(index, "family")],
  ["traits", (index) => (factsOf(index).traits || ["no traits"]).join(" + ")],
  ["kind", (index) => factsOf(index).kind || "no kind"],
  ["none", () => undefined],
]);

// What a row comes to, from what fails to what could not be tried.
const FAILING = 0, KNOWN = 1, DOCUMENTED = 2, AWAY = 3;

function hasMany(view) {
  const size = (side) => axesOf(view, side).reduce((product, axis) => product * data.axes[axis].length, 1);
  return size("rows") > data.many || size("columns") > data.many;
}

function kindWords(kind) {
  return kindNames[kind].verdict + kindNames[kind].known;
}

function sumOf(entries) {
  const sums = new Uint32Array(2 * verdicts.size);
  for (const kinds of entries) kinds.forEach((count, kind) => { sums[kind] += count; });
  return sums;
}

// The rank of a row, and in words what all of its cells came to, if that can be said of all of them.
function standing(kinds, fails) {
  const present = [];
  kinds.forEach((count, kind) => count && present.push(kind));
  const known = present.some((kind) => kindNames[kind].known);
  const rank = fails ? FAILING : known ? KNOWN : present.some((kind) => kindWords(kind) !== "unavailable") ? DOCUMENTED : AWAY;
  const gravity = Math.min(...present.map((kind) => kindGravity[kind]));
  const result = rank === DOCUMENTED ? "as documented" : present.length === 1 ? kindWords(present[0]) : "";
  return { rank, gravity, result };
}

// Groups of rows, each with its rows in the order in which a reader should see them, those of one result together.
function gathered({ rows, entries, failing }, view) {
  const groupOf = axesOf(view, "rows").includes("architecture") ? GATHERED.get(view.gather) : GATHERED.get("none");
  const groups = new Map();
  for (const [place, label, index] of rows) {
    const name = groupOf(index);
    if (!groups.has(name)) groups.set(name, { name, rows: [] });
    const kinds = sumOf(entries.get(place).values());
    const fails = failing.get(place) || 0;
    groups.get(name).rows.push({ place, label, index, kinds, fails, ...standing(kinds, fails) });
  }
  const gravest = (one, other) =>
    one.rank - other.rank || one.gravity - other.gravity || other.fails - one.fails || one.place - other.place;
  for (const group of groups.values()) {
    group.rows.sort(gravest);
    group.fails = group.rows.filter(({ rank }) => rank === FAILING).length;
  }
  return [...groups.values()].sort((one, other) => other.fails - one.fails);
}

// What is drawn, line by line: a group, a row, or a fold that stands for rows of one result.
function linesOf(groups, view) {
  const turned = new Set(view.turned.split("~"));
  const isOpen = (key, usually) => usually !== turned.has(key);
  return groups.flatMap((group) => {
    const lines = [];
    if (group.name !== undefined) {
      const open = isOpen(group.name, true);
      lines.push({ key: group.name, group, open });
      if (!open) return lines;
    }
    for (const rank of [FAILING, KNOWN, DOCUMENTED, AWAY]) {
      const alike = new Map();
      for (const row of group.rows) {
        if (row.rank === rank) alike.set(row.result, [...(alike.get(row.result) || []), row]);
      }
      const isFold = ([result, rows]) => result && rows.length >= FOLDS_FROM;
      const single = [...alike].filter((found) => !isFold(found)).flatMap(([, rows]) => rows);
      lines.push(...single.map((row) => ({ row })));
      for (const [result, rows] of [...alike].filter(isFold)) {
        const key = `${group.name ?? ""}/${result}`;
        const open = isOpen(key, view.unfold === "all" || (rank === FAILING && rows.length <= FAILING_SHOWN));
        lines.push({ key, result, rows, open }, ...(open ? rows.map((row) => ({ row, within: true })) : []));
      }
    }
    return lines;
  });
}

// The gravest kind of an entry stands for it; its words tell of all.
function summed(kinds) {
  let [worst, sum] = [-1, 0];
  const words = [];
  kinds.forEach((count, kind) => {
    if (!count) return;
    sum += count;
    words.push(`${whole(count)} ${kindWords(kind)}`);
    if (worst < 0 || kindGravity[kind] < kindGravity[worst]) worst = kind;
  });
  const { verdict, known } = kindNames[worst];
  const count = sum === 1 ? "" : kinds[worst] === sum ? ` ${whole(sum)}` : ` ${whole(kinds[worst])}/${whole(sum)}`;
  return { look: `v-${verdict}${known && " known"}`, text: verdicts.get(verdict).symbol + count, words: words.join(", ") };
}

function turner(key, open, ...children) {
  return make("button", { type: "button", "data-turn": key, "aria-expanded": String(open) }, open ? "▾ " : "▸ ", ...children);
}

function groupLine({ key, group, open }, columns, entries) {
  const line = make("tr", { class: "group" }, make("th", { scope: "row" }, turner(key, open, `${key} (${whole(group.rows.length)})`)));
  for (const [at] of columns) {
    const met = group.rows.map(({ place }) => entries.get(place).get(at)).filter(Boolean);
    if (!met.length) {
      line.append(make("td"));
      continue;
    }
    const { look, text, words } = summed(sumOf(met));
    line.append(make("td", {}, make("span", { class: look, title: words },
      make("span", { "aria-hidden": "true" }, text), make("span", { class: "unseen" }, words))));
  }
  return line;
}

function foldLine({ key, result, rows, open }, columns, view) {
  const named = view.rows2 || view.rows !== "architecture" ? "rows" : "architectures";
  return make("tr", { class: "fold" }, make("th", { scope: "row", colspan: columns.length + 1 },
    turner(key, open, `${whole(rows.length)} ${named}: all ${result}`)));
}

function rowLine({ row, within }, columns, entries, select) {
  const weak = factsOf(row.index).weak;
  const head = select(row.label, "", row.label + (weak ? " *" : ""));
  head.title = weak ? `${row.label}: a weak fixture, ${weak}` : row.label;
  const line = make("tr", within ? { class: "within" } : {}, make("th", { scope: "row" }, head));
  const met = entries.get(row.place);
  for (const [at, column] of columns) {
    const kinds = met.get(at);
    const cell = document.createElement("td");
    if (kinds) {
      const { look, text, words } = summed(kinds);
      const link = select(row.label, column, text);
      link.className = look;
      link.title = words;
      link.setAttribute("aria-label", words);
      cell.append(link);
    }
    line.append(cell);
  }
  return line;
}

// Lines that are still to be drawn, and what draws one.
const pending = { lines: [], at: 0, draw: null, step: 0 };
const furtherButton = make("button", { type: "button", id: "further" });
const furtherLine = make("tr", { class: "further" }, make("th", { scope: "row" }, furtherButton));
const nearing = new IntersectionObserver((seen) => seen.some(({ isIntersecting }) => isIntersecting) && drawFurther(),
  { root: find("pivot").parentElement, rootMargin: "900px" });

function drawFurther(until = pending.at + pending.step) {
  const lines = pending.lines.slice(pending.at, until).map(pending.draw);
  pending.at += lines.length;
  const left = pending.lines.length - pending.at;
  furtherButton.textContent = `${whole(left)} more lines`;
  furtherLine.remove();
  nearing.unobserve(furtherLine);
  find("pivot").tBodies[0].append(...lines, ...(left ? [furtherLine] : []));
  // Observed anew, it is told of even if it never left the sight.
  if (left) nearing.observe(furtherLine);
  return lines;
}

function forgetFurther() {
  pending.lines = [];
  pending.at = 0;
}

function drawHeat(counts, view, select, kept) {
  const { columns, entries } = counts;
  const lines = linesOf(gathered(counts, view), view);
  pending.lines = lines;
  pending.step = Math.max(1, Math.ceil(AT_ONCE / columns.length));
  pending.draw = (line) => line.group ? groupLine(line, columns, entries)
    : line.rows ? foldLine(line, columns, view) : rowLine(line, columns, entries, select);
  furtherLine.firstChild.colSpan = columns.length + 1;
  find("pivot").tBodies[0].replaceChildren();
  drawFurther(Math.max(kept, pending.step));
}
