// The matrix: any one or two axes as rows, any one or two as columns.
const DEFAULT = { rows: "architecture", rows2: "", columns: "backend", columns2: "" };
const BETWEEN = " · ";

const SIDES = Object.keys(DEFAULT);

function axesOf(view, side) {
  return [view[side], view[`${side}2`]].filter(Boolean);
}

// An address may hold anything: an axis that there is not, or one that is taken, gives way to the usual one.
function withKnownAxes(view) {
  const wanted = SIDES.map((side) => view[side]).filter(Boolean);
  const known = wanted.every((axis) => Object.hasOwn(data.axes, axis)) && new Set(wanted).size === wanted.length;
  return known && view.rows && view.columns ? view : { ...view, ...DEFAULT };
}

// For each cell its place in the order of an axis: asked for at every stroke of a key, so counted once.
const placesOf = new Map();
function places(axis) {
  if (!placesOf.has(axis)) {
    const order = new Map(data.axes[axis].map((value, place) => [value, place]));
    placesOf.set(axis, Uint32Array.from(data.rows, (_, index) => order.get(valueOf(index, axis))));
  }
  return placesOf.get(axis);
}

function labelOf(index, axes) {
  return axes.map((axis) => valueOf(index, axis)).join(BETWEEN);
}

// The place of a cell along one or two axes.
function along([first, second]) {
  const [one, two] = [places(first), second && places(second)];
  const size = second ? data.axes[second].length : 1;
  return (index) => one[index] * size + (two ? two[index] : 0);
}

// Rows and columns in their order, each with its place, its label and one of its cells; what kinds of verdicts there are
// where they meet; and by row, how many of its cells fail the run.
function counted(indices, view) {
  const [rowAxes, columnAxes] = [axesOf(view, "rows"), axesOf(view, "columns")];
  const [rowAt, columnAt] = [along(rowAxes), along(columnAxes)];
  const [rows, columns, entries, failing] = [new Map(), new Map(), new Map(), new Map()];
  for (const index of indices) {
    const [row, column] = [rowAt(index), columnAt(index)];
    if (!rows.has(row)) entries.set(row, new Map()) && rows.set(row, index);
    if (!columns.has(column)) columns.set(column, index);
    if (numberOf(index, "fails")) failing.set(row, (failing.get(row) || 0) + 1);
    const line = entries.get(row);
    if (!line.has(column)) line.set(column, new Uint32Array(2 * verdicts.size));
    line.get(column)[kindOf[index]] += 1;
  }
  const ordered = (found, axes) => [...found].sort(([one], [other]) => one - other)
    .map(([place, index]) => [place, labelOf(index, axes), index]);
  return { rows: ordered(rows, rowAxes), columns: ordered(columns, columnAxes), entries, failing };
}

// What stands in hundreds of entries is made once and cloned.
const EMPTY_BAR = draw("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
const SHARES = kindNames.map(({ verdict, known }) => draw("rect", { class: `v-${verdict}${known && " known"}`, height: 6 }));
const COUNTS = kindNames.map(({ verdict }) => make("li", { class: `v-${verdict}` }, icon(verdicts.get(verdict).symbol)));

function mix(kinds) {
  const bar = EMPTY_BAR.cloneNode(false);
  const list = make("ul", { class: "mix" });
  const sum = kinds.reduce((before, count) => before + count);
  let start = 0;
  kinds.forEach((count, kind) => {
    if (!count) return;
    const { verdict, known } = kindNames[kind];
    const share = SHARES[kind].cloneNode(false);
    const width = (100 * count) / sum;
    share.setAttribute("x", start);
    share.setAttribute("width", width);
    bar.append(share);
    const line = COUNTS[kind].cloneNode(true);
    line.append(`${whole(count)} ${verdict}${known}`);
    list.append(line);
    start += width;
  });
  return [bar, list];
}

// `select` makes the link that chooses a row, a column or where they meet.
function drawPivot(indices, view, select, many, kept) {
  const counts = counted(indices, view);
  const corner = `${axesOf(view, "rows").join(BETWEEN)} / ${axesOf(view, "columns").join(BETWEEN)}`;
  const table = find("pivot");
  table.tHead.replaceChildren(make("tr", {}, make("th", { scope: "col" }, corner),
    ...counts.columns.map(([, column]) => make("th", { scope: "col" }, select("", column, breakable(column))))));
  table.classList.toggle("heat", many);
  const columns = counts.columns.length;
  table.style.minWidth = many ? `${230 + 80 * columns}px` : `${110 + 96 * columns}px`;
  table.style.width = many ? `min(100%, ${230 + 116 * columns}px)` : "";
  forgetFurther();
  if (many) drawHeat(counts, view, select, kept);
  else drawBars(counts, select);
}

function drawBars({ rows, columns, entries }, select) {
  const body = rows.map(([place, row]) => make("tr", {},
    make("th", { scope: "row" }, select(row, "", breakable(row))),
    ...columns.map(([at, column]) => {
      const kinds = entries.get(place).get(at);
      return make("td", {}, kinds && select(row, column, ...mix(kinds)));
    })));
  find("pivot").tBodies[0].replaceChildren(...body);
}

function breakable(text) {
  return text.replaceAll("_", "_\u200b").replaceAll(" (", "\n(").replaceAll(BETWEEN, "\n");
}
